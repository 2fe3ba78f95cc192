"""Write maps in HU that are not CTs, such as the spread of the draws, as DICOM Parametric Maps."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from sde_ct.errors import InputError
from sde_ct.storage.versions import versions
from sde_ct.storage.whole import whole
from sde_ct.volumes.dicom.contents import Labels
from sde_ct.volumes.dicom.identity import Identity, derived_uid
from sde_ct.volumes.dicom.stack import place_hash, stacked
from sde_ct.volumes.dicom.write import MANUFACTURER, joined
from sde_ct.volumes.volume import Volume, voxel_sha256

UNDATED = "19000101"  # ContentDate if the study has no date, because the tag must have a value
STRICT = ("PatientSex", "PatientBirthDate", "StudyDate", "StudyTime")


def write_map(file: Path, volume: Volume, identity: Identity, ct: Path, labels: Labels) -> Path:
    """Write one multi-frame file (Parametric Map Storage, float32), whole or not at all.

    No planning system calculates a dose on this class. The stored values are the real-world
    values, mapped by slope 1 and intercept 0 to Hounsfield units (UCUM). Patient, study, frame of
    reference and slices are those of the CT series. The same volume gives the same file.

    Args:
      file: path of the new file.
      volume: HU on the MR's grid.
      identity: the MR's identity.
      ct: folder of the CT series of the same MR; the map refers to its slices.
      labels: what the voxels are.

    Raises:
      InputError: the file exists, the grid is not the MR's, the axes are not perpendicular, or a
        voxel is not finite.
    """
    if file.exists():
        raise InputError(f"{file} exists: choose another output or remove it first")
    array, affine, _ = stacked(volume, identity, str(file))
    image = _image(np.asarray(array, np.float32), affine, identity, ct, labels)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as partial:
        image.save_as(partial, enforce_file_format=True)
    return file


def _image(
    array: np.ndarray, affine: np.ndarray, identity: Identity, ct: Path, labels: Labels
) -> Dataset:
    import highdicom as hd  # takes seconds to import
    from pydicom.sr.codedict import codes

    slices = [pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(ct.iterdir())]
    # highdicom refuses some hospitals' values of these tags; the true values are set below.
    slices[0].pop("SpecificCharacterSet", None)
    for keyword in STRICT:
        setattr(slices[0], keyword, "")
    series = derived_uid(
        "series", joined(identity), labels.code, labels.derivation, place_hash(affine),
        voxel_sha256(array),
    )  # fmt: skip
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="HU",
        lut_explanation=labels.description,
        unit=codes.UCUM.HounsfieldUnit,
        value_range=(float(array.min()), float(array.max())),
        slope=1.0,
        intercept=0.0,
    )
    center, width = labels.window
    version = versions()["sde-ct"]
    image: Dataset = hd.pm.ParametricMap(
        slices,
        hd.Volume(array.transpose(2, 1, 0), affine[:, [2, 1, 0, 3]], "PATIENT"),
        series_instance_uid=series,
        series_number=labels.number,
        sop_instance_uid=derived_uid("image", series, "0"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=version,
        device_serial_number=version,
        contains_recognizable_visual_features=True,  # the bounds of a head show the face
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(center, width)],
        content_label=labels.code,
        series_description=labels.description,
    )
    image.update(identity.header)
    image.DerivationDescription = labels.derivation
    # highdicom makes up new values for these tags on every call.
    date = str(identity.header.get("StudyDate"))
    image.ContentDate = date if len(date) == 8 and date.isdigit() else UNDATED
    image.ContentTime = "000000"
    del image.InstanceCreationDate, image.InstanceCreationTime
    for item in image.ContributingEquipmentSequence:
        item.pop("ContributionDateTime", None)
    dimensions = derived_uid("dimensions", series)
    for item in (*image.DimensionOrganizationSequence, *image.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return image
