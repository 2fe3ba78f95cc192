"""Volumes as planning toolkits read them: MetaImage, uncompressed, axes as in DICOM.

matRad reads the voxels of such a file and its spacing, and passes over where its axes point: they
must run to the left, to posterior and superior, in all volumes alike. Its NRRD reader refuses
oblique scans, and its NIfTI reader, which needs a toolbox, would see them turned. pyRadPlan reads
it by ITK.
"""

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from sde_ct.errors import InputError
from sde_ct.storage.whole import whole
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import Volume, left_posterior_superior, rounded_hu


def write_planning_volume(path: str | os.PathLike, volume: Volume) -> Path:
    """Write an `.mha` file whole or not at all: HU as int16, a mask as 0 and 1, uint8.

    Raises:
      InputError: the file exists, or voxels are not finite.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists: choose another output or remove it first")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path} is not written: the volume holds voxels that are not finite")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        sitk.WriteImage(_image(volume), str(partial), useCompression=False)
    return path


def _image(volume: Volume) -> sitk.Image:
    turned = left_posterior_superior(volume)
    affine = swap_lps_ras(turned.affine)
    if volume.unit == "HU":
        stored = rounded_hu(turned.array)
    else:
        stored = (turned.array > 0).astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image
