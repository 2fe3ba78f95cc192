"""Gold Atlas (T. Nyholm et al., Med. Phys. 45(3):1295, 2018): one DICOM folder per patient.

Each folder holds about eight series: T2, T1, the CT as scanned and the CT deformed onto the T2, a
registration, and structure sets of several observers. Any cohort of this form can be read.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from sde_ct.data import acquisition
from sde_ct.data.sources.atlas_series import (
    SYNTHETIC_CT,
    Found,
    Image,
    choose_ct,
    choose_mr,
    describe,
    scan,
    shift_of,
)
from sde_ct.data.sources.body_contour import body_contour
from sde_ct.data.sources.patient import Patient, Source, Unusable, stamp_of
from sde_ct.errors import InputError
from sde_ct.storage.folders import folders, is_empty, subfolders
from sde_ct.volumes.dicom.patient_names import mentions, secrets_in, withhold
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import may_be_dicom
from sde_ct.volumes.field_of_view import known, measured, moved
from sde_ct.volumes.hounsfield import require_hu
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Unit, Volume

AIR = -1024.0  # HU
# The most common split in the literature leaves site 3 out and tests on these four patients.
LITERATURE_TEST = ("1_03", "1_06", "2_04", "2_11")
LITERATURE_WITHOUT = ("3_",)


@dataclass(frozen=True)
class AtlasCase:
    """One patient, given by a folder."""

    id: str
    folder: Path
    t1: bool = False  # keep the T1 too, resampled onto the T2's grid

    def stamp(self) -> str:
        """A text that changes when a file or the field `t1` changes."""
        return stamp_of(folders(self.folder)) + (" T1" if self.t1 else "")

    def clean(self, text: str) -> str:
        """A text without the names and IDs in the files, except the folder's name."""
        return withhold(text, secrets_in(folders(self.folder)), self.id)

    def read(self) -> Patient:
        """T2, CT, body mask, and notes without the patient's names and IDs except those in `id`."""
        try:
            found = scan(self.folder)
            return _without_names(self._read(found), found.secrets, self.id)
        except InputError as error:
            raise InputError(f"{self.folder.name}: {error}") from None

    def _read(self, found: Found) -> Patient:
        if not found.images and found.others.get(SYNTHETIC_CT):
            raise InputError(
                "it holds a synthetic CT and no MR: move the output out of the patients' folder"
            )
        if not found.images:
            raise InputError("no DICOM image can be read: give the patient's folder")
        t2, why_t2 = choose_mr(found, "T2")
        ct, why_ct, deformed = choose_ct(found, t2)
        mr, hu = _read(t2), _read(ct)
        there, notes = None, list[str]()
        if deformed:
            hu, there, notes = _on_grid(hu, mr, shift_of(ct, t2))
        outline = body_contour(found.structures, mr, t2.slices[0].frame)
        extra, why_t1 = self._t1(found, mr, t2) if self.t1 else ({}, {})
        roles = {id(t2): "MR", id(ct): "CT"}
        facts: dict[str, Any] = {
            "series": [describe(i, roles.get(id(i), "not used")) for i in found.images],
            "other_files": found.others,
            # A file represents its series. The name of the file is omitted if it names the patient.
            **{
                f"{role}_file": image.slices[0].file.name
                for role, image in (("mr", t2), ("ct", ct))
                if not mentions(image.slices[0].file.name, found.secrets, self.id)
            },
            "mask": "contour" if outline.mask else "computed",
            "patient_position": t2.series.position if t2.series else None,
            "acquisition": acquisition.facts(t2.series) if t2.series else {},
        }
        files = {"mr": t2.slices[0].file, "ct": ct.slices[0].file, "mask": None}
        return Patient(
            mr=mr,
            ct=hu,
            mask=outline.mask,
            files=files,
            ct_measured=there,
            mr_measured=known(mr),
            registered=deformed,
            extra=extra,
            chosen={"mr": why_t2, "ct": why_ct, "mask": outline.chosen} | why_t1,
            facts=facts,
            warnings=(
                *_synthetic(found),
                *found.unreadable,
                *t2.warnings,
                *ct.warnings,
                *notes,
                *outline.warnings,
            ),
        )

    def _t1(self, found: Found, mr: Volume, t2: Image) -> tuple[dict[str, Volume], dict[str, str]]:
        try:
            t1, why = choose_mr(found, "T1")
            if t1.slices[0].frame != t2.slices[0].frame:
                return {}, {"t1": f"left out, because {t1.text} lies in another frame of reference"}
            return {"t1": resample_on(_read(t1), mr, fill=0.0)}, {"t1": f"{why}; on the T2's grid"}
        except InputError as error:
            return {}, {"t1": f"left out: {error}"}


def find_atlas(folder: Path, *, t1: bool = False) -> list[Source]:
    """A case for every subfolder that holds slices at any depth, or for `folder` if it holds some.

    Other files and DICOMDIRs beside the patients' folders are ignored. A folder without any file
    counts as a patient and is refused. Raises InputError if there are no patients.
    """
    if any(may_be_dicom(f) for f in slice_files(folder)):
        return [AtlasCase(folder.name, folder, t1)]
    places = subfolders(folder)
    holding = [place for place in places if any(slice_files(p) for p in folders(place))]
    if not holding and slice_files(folder):
        return [AtlasCase(folder.name, folder, t1)]
    if not holding:
        raise InputError(f"{folder} holds no patients: give a folder with a subfolder for each")
    empty = "its folder is empty: copy its files again, or remove it"
    return [
        AtlasCase(place.name, place, t1) if place in holding else Unusable(place.name, empty)
        for place in places
        if place in holding or is_empty(place)
    ]


def literature_split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The most common split in the literature: the patients left out, and the test patients.

    Raises InputError if a test patient is missing or not unique.
    """
    test = []
    for number in LITERATURE_TEST:
        matches = [name for name in names if name == number or name.startswith(f"{number}_")]
        if len(matches) != 1:
            raise InputError(
                f"the literature's split tests on {number}: add this patient, or "
                "name the patients for --test"
            )
        test += matches
    return [name for name in names if name.startswith(LITERATURE_WITHOUT)], test


def _synthetic(found: Found) -> list[str]:
    """A warning if the folder holds synthetic CTs, which were left out."""
    count = found.others.get(SYNTHETIC_CT, 0)
    return [f"{count} slices of a synthetic CT were left out"] if count else []


def _read(image: Image) -> Volume:
    if image.series is None:
        raise InputError(image.broken)
    unit: Unit = "HU" if image.modality == "CT" else "a.u."
    volume = Volume(image.series.read(), image.series.affine, unit)
    if unit == "HU":
        require_hu(volume, image.slices[0].file)
    return volume


def _on_grid(
    hu: Volume, mr: Volume, shift: int | None
) -> tuple[Volume, Bool[np.ndarray, "x y z"], list[str]]:
    """The deformed CT on the T2's grid, its measured voxels, and notes for the report.

    Args:
      hu: the CT.
      mr: the T2.
      shift: number to add to a slice index of the T2 to get that of the CT. None means that the
        grids differ, so that the CT is resampled.
    """
    if shift is None:
        note = "the deformed CT lies on another grid than the T2 and was resampled onto it"
        return resample_on(hu, mr, fill=AIR), moved(measured(hu), hu, mr), [note]
    depth, ct_depth = mr.array.shape[2], hu.array.shape[2]
    first, last = max(0, -shift), min(depth, ct_depth - shift)
    if last - first < 2:
        raise InputError(
            "T2 and deformed CT have fewer than two slices in common: leave the patient out"
        )
    notes = []
    if (first, last) != (0, depth):
        notes.append(f"the CT has only {last - first} of the {depth} slices of the T2")
    if last - first < ct_depth:
        more = ct_depth - (last - first)
        notes.append(f"{more} of {ct_depth} slices of the CT lie beyond the T2 and were left out")
    array, there = np.full(mr.array.shape, AIR, np.float32), np.zeros(mr.array.shape, bool)
    array[..., first:last] = hu.array[..., first + shift : last + shift]
    there[..., first:last] = measured(hu)[..., first + shift : last + shift]
    return mr.with_array(array, "HU"), there, notes


def _without_names(patient: Patient, secrets: Collection[str], keep: str) -> Patient:
    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return withhold(value, secrets, keep)
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        return [clean(inner) for inner in value] if isinstance(value, list | tuple) else value

    return patient._replace(
        chosen=clean(dict(patient.chosen)),
        facts=clean(dict(patient.facts)),
        warnings=tuple(clean(patient.warnings)),
    )
