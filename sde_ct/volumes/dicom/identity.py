"""Whose images a written series joins: patient, study and frame of reference."""

import copy
import uuid
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.uid import UID

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.patient_names import words_of
from sde_ct.volumes.dicom.series import Series
from sde_ct.volumes.volume import Volume, voxel_sha256

# SOP class and instance of slices; of a multi-frame file, the number of the frame too.
Sources = tuple[tuple[str, ...], ...]
JOINING = ("StudyInstanceUID", "FrameOfReferenceUID")
# The MR's tags that a derived series shares with it; the others describe the MR's acquisition.
KEPT = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientSex", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", *JOINING, "StudyDate", "StudyTime"),
    *("StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    *("PositionReferenceIndicator", "PatientPosition", "BodyPartExamined", "Laterality"),
)
# Tags that the standard wants present, if empty (type 2).
PRESENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
# Whose emptiness the standard allows, but planning systems may not.
NAMING = {
    "PatientID": "--patient_id fills it in",
    "PatientName": "a planning system may ask for it at import",
}
SUPINE = "HFS"  # head first, supine; coordinates do not depend on it


@dataclass(frozen=True)
class Identity:
    """What a new series takes over, and what of it had to be made up."""

    header: Dataset = field(repr=False)  # patient, study, frame of reference
    affine: Float[np.ndarray, "4 4"]  # of the MR, to RAS mm
    sources: Sources  # of the MR; empty where it did not come as DICOM
    notes: tuple[str, ...]  # a sentence for everything made up

    def at(self, affine: Float[np.ndarray, "4 4"]) -> "Identity":
        """The same patient, study and frame on another grid, whose slices are none of the MR's."""
        return replace(self, affine=affine, sources=())

    def named_in(self, text: str) -> bool:
        """Whether a part of the patient's name is in `text`; two letters only as a word."""
        name, words = str(self.header.get("PatientName") or ""), words_of(text)
        return any(
            part in words or (len(part) > 2 and part in text.casefold()) for part in words_of(name)
        )


def identity_of(series: Series, patient_id: str = "") -> Identity:
    """The identity of an MR's series; `patient_id` fills an empty PatientID in.

    Raises InputError where its header is damaged, or has another PatientID.
    """
    first = series.slices[0]
    with decoding(first.file):
        header = Dataset()
        for keyword in KEPT:
            if keyword in series.header:
                header.add(copy.deepcopy(series.header[keyword]))
        missing = [keyword for keyword in JOINING if not header.get(keyword)]
        notes = [f"The MR's DICOM lacks {keyword}: a new one was made." for keyword in missing]
        if patient_id:
            if str(header.get("PatientID") or patient_id) != patient_id:
                raise InputError(
                    f"{series.path} has another PatientID than --patient_id: leave the flag out, "
                    "it only fills in an empty one"
                )
            header.PatientID = patient_id
        for keyword, remedy in NAMING.items():
            if not str(header.get(keyword) or "").strip("^ "):
                notes.append(f"The MR's DICOM and its CT series have no {keyword}: {remedy}.")
    sources = tuple(image.sop for image in series.slices)
    return _completed(header, series.affine, sources, notes, first.series)


def new_identity(mr: Volume, patient_id: str = "") -> Identity:
    """An identity made up for an MR that did not come as DICOM; the same for the same voxels."""
    origin, header = voxel_sha256(mr.array), Dataset()
    made = f"MR-{origin[:12]}"
    header.PatientID, header.PatientName = patient_id or made, f"MR^{origin[:12]}"
    patient = "the patient's name" if patient_id else f"patient {made}"
    note = (
        f"The MR is no DICOM: {patient}, study and frame of reference are new, so "
        "that a planning system does not join them with the patient's other images."
    )
    return _completed(header, mr.affine, (), [note], origin)


def derived_uid(*content: str) -> UID:
    """A UID that follows from its content alone (PS3.5, B.2: 2.25 and a UUID)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(31).join(content)).int}")


def _completed(
    header: Dataset, affine: np.ndarray, sources: Sources, notes: list[str], origin: str
) -> Identity:
    """The identity with all tags that the standard wants; new UIDs follow from `origin`."""
    for keyword in JOINING:
        if not header.get(keyword):
            setattr(header, keyword, derived_uid(keyword, origin))
    if not header.get("PatientPosition"):
        header.PatientPosition = SUPINE
        notes.append(f"The MR does not give PatientPosition: {SUPINE} was written.")
    for keyword in PRESENT:
        if keyword not in header:
            setattr(header, keyword, "")
    # The standard wants the side, if empty, unless the body part is known to be a single one.
    if not header.get("BodyPartExamined"):
        header.Laterality = header.get("Laterality") or ""
    elif "Laterality" in header and not header.Laterality:
        del header.Laterality
    return Identity(header, affine, sources, tuple(notes))
