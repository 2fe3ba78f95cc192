"""Whose images a written series joins: patient, study and frame of reference."""

import copy
import uuid
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.uid import UID

from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.patient_names import words_of
from sde_ct.volumes.dicom.series import Series
from sde_ct.volumes.volume import Volume, voxel_sha256

# Of the MR's tags, those that a derived series shares with it; the others tell of its acquisition.
KEPT = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientSex", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("DeidentificationMethodCodeSequence", "StudyInstanceUID", "StudyDate", "StudyTime"),
    *("StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition"),
    *("BodyPartExamined", "Laterality"),
)
# Tags that the standard wants present, if empty (type 2).
PRESENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
SUPINE = "HFS"  # head first, supine; coordinates do not depend on it


@dataclass(frozen=True)
class Identity:
    """What a new series takes over, and what of it had to be made up."""

    header: Dataset = field(repr=False)  # patient, study, frame of reference
    affine: Float[np.ndarray, "4 4"]  # of the MR, to RAS mm
    sources: tuple[tuple[str, str], ...]  # SOP class and instance of the MR's slices; may be empty
    notes: tuple[str, ...]  # a sentence for everything made up

    def named_in(self, text: str) -> bool:
        """Whether a part of the patient's name is in `text`; two letters only as a word."""
        name, words = str(self.header.get("PatientName") or ""), words_of(text)
        return any(
            part in words or (len(part) > 2 and part in text.casefold()) for part in words_of(name)
        )


def identity_of(series: Series) -> Identity:
    """The identity of an MR's series. Raises InputError where its header is damaged."""
    first = series.slices[0]
    with decoding(first.file):
        header, notes = Dataset(), []
        for keyword in KEPT:
            if keyword in series.header:
                header.add(copy.deepcopy(series.header[keyword]))
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            if not header.get(keyword):
                setattr(header, keyword, derived_uid(keyword, first.series))
                notes.append(f"The MR's DICOM lacks {keyword}: a new one was made.")
    sources = tuple(image.sop for image in series.slices)
    return Identity(_completed(header, notes), series.affine, sources, tuple(notes))


def new_identity(mr: Volume) -> Identity:
    """An identity made up for an MR that did not come as DICOM; the same for the same voxels."""
    origin, header = voxel_sha256(mr.array), Dataset()
    header.PatientID, header.PatientName = f"MR-{origin[:12]}", f"MR^{origin[:12]}"
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(header, keyword, derived_uid(keyword, origin))
    notes = [
        f"The MR is no DICOM: patient {header.PatientID}, study and frame of reference are new, so "
        "that a planning system does not join them with the patient's other images."
    ]
    return Identity(_completed(header, notes), mr.affine, (), tuple(notes))


def derived_uid(*content: str) -> UID:
    """A UID that follows from its content alone (PS3.5, B.2: 2.25 and a UUID)."""
    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(31).join(content)).int}")


def _completed(header: Dataset, notes: list[str]) -> Dataset:
    if not header.get("PatientPosition"):
        header.PatientPosition = SUPINE
        notes.append(f"The MR tells no PatientPosition: {SUPINE} was written.")
    for keyword in PRESENT:
        if keyword not in header:
            setattr(header, keyword, "")
    # The standard wants the side, if empty, unless the part is known to come but once.
    if not header.get("BodyPartExamined"):
        header.Laterality = header.get("Laterality") or ""
    elif "Laterality" in header and not header.Laterality:
        del header.Laterality
    return header
