"""The patient, study and frame of reference that a new series joins."""

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

# SOP class and instance of each slice, and the frame number in a multi-frame file.
Sources = tuple[tuple[str, ...], ...]
JOINING = ("StudyInstanceUID", "FrameOfReferenceUID")
# A derived series copies these tags of the MR. The other tags describe the MR's acquisition.
KEPT = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientSex", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", *JOINING, "StudyDate", "StudyTime"),
    *("StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    *("PositionReferenceIndicator", "PatientPosition", "BodyPartExamined", "Laterality"),
)
# Tags that the standard requires but allows to be empty (type 2).
PRESENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
# Tags that the standard allows to be empty, but that planning systems may need.
NAMING = {
    "PatientID": "--patient_id fills it in",
    "PatientName": "a planning system may ask for it at import",
}
SUPINE = "HFS"  # head first, supine; the coordinates are the same in any patient position


@dataclass(frozen=True)
class Identity:
    """What a new series copies from the MR, and notes on what the MR lacks."""

    header: Dataset = field(repr=False)  # tags of patient, study and frame of reference
    affine: Float[np.ndarray, "4 4"]  # from voxel indices of the MR to RAS mm
    sources: Sources  # the MR's slices; empty if the MR is not DICOM
    notes: tuple[str, ...]  # a sentence for everything that was made up or stays empty

    def at(self, affine: Float[np.ndarray, "4 4"]) -> "Identity":
        """The same patient, study and frame of reference on a grid that is not the MR's."""
        return replace(self, affine=affine, sources=())

    def named_in(self, text: str) -> bool:
        """Whether `text` contains a part of the patient's name.

        A part of two letters counts only as a whole word.
        """
        name, words = str(self.header.get("PatientName") or ""), words_of(text)
        return any(
            part in words or (len(part) > 2 and part in text.casefold()) for part in words_of(name)
        )


def identity_of(series: Series, patient_id: str = "") -> Identity:
    """The identity of an MR's series; `patient_id` replaces an empty PatientID.

    Raises InputError if the header is damaged or has another PatientID.
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
                    "because it only fills in an empty PatientID"
                )
            header.PatientID = patient_id
        for keyword, remedy in NAMING.items():
            if not str(header.get(keyword) or "").strip("^ "):
                notes.append(f"The MR's DICOM and the new CT series have no {keyword}: {remedy}.")
    sources = tuple(image.sop for image in series.slices)
    return _completed(header, series.affine, sources, notes, first.series)


def new_identity(mr: Volume, patient_id: str = "") -> Identity:
    """Make up an identity for an MR that is not DICOM; equal voxels give equal identities."""
    origin, header = voxel_sha256(mr.array), Dataset()
    made = f"MR-{origin[:12]}"
    header.PatientID, header.PatientName = patient_id or made, f"MR^{origin[:12]}"
    patient = "the patient's name" if patient_id else f"patient {made}"
    note = (
        f"The MR is not DICOM: {patient}, study and frame of reference are new, so that a planning "
        "system does not join the new series with the patient's other images."
    )
    return _completed(header, mr.affine, (), [note], origin)


def derived_uid(*content: str) -> UID:
    """A UID that depends on `content` alone (PS3.5, B.2: 2.25 and a UUID)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(31).join(content)).int}")


def _completed(
    header: Dataset, affine: np.ndarray, sources: Sources, notes: list[str], origin: str
) -> Identity:
    """The identity with all tags that the standard requires; `origin` determines new UIDs."""
    for keyword in JOINING:
        if not header.get(keyword):
            setattr(header, keyword, derived_uid(keyword, origin))
    if not header.get("PatientPosition"):
        header.PatientPosition = SUPINE
        notes.append(f"The MR does not give PatientPosition: {SUPINE} was written.")
    for keyword in PRESENT:
        if keyword not in header:
            setattr(header, keyword, "")
    # The standard requires Laterality, which may be empty, unless the body part is unpaired.
    if not header.get("BodyPartExamined"):
        header.Laterality = header.get("Laterality") or ""
    elif "Laterality" in header and not header.Laterality:
        del header.Laterality
    return Identity(header, affine, sources, tuple(notes))
