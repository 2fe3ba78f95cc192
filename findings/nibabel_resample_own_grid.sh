#!/usr/bin/env bash
# nibabel.processing.resample_from_to leads each voxel of the new grid to its place in the old one by two affines.
# On a turned grid, rounding makes the place of some border voxels -1e-16 instead of 0. SciPy takes that for
# outside, so that the voxel gets the fill value. An image that is resampled to its own grid loses a whole face,
# and so does a CT that is brought to the grid of an MR with which it shares that face. ITK allows half a voxel.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    nibabel==5.4.2 scipy==1.15.3 SimpleITK==2.5.2 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import nibabel as nib
import numpy as np
import scipy
import SimpleITK as sitk
from nibabel.processing import resample_from_to

print(f"nibabel {nib.__version__}, SciPy {scipy.__version__}, SimpleITK {sitk.Version_VersionString()}")
SHAPE, SPACING, FILL = (64, 64, 20), (0.9375, 0.9375, 3.0), -1000


def turn(degrees):
    """The direction of the axes of a scan turned about the patient's long axis."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def lost_by_nibabel(degrees):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn(degrees) * SPACING, (-31.4, 12.7, -140.2)
    image = nib.Nifti1Image(np.full(SHAPE, 1000, np.float32), affine)
    return int((resample_from_to(image, image, order=1, cval=FILL).get_fdata() == FILL).sum())


def lost_by_itk(degrees):
    image = sitk.GetImageFromArray(np.full(SHAPE[::-1], 1000, np.float32))
    image.SetSpacing(SPACING)
    image.SetOrigin((-31.4, 12.7, -140.2))
    image.SetDirection(turn(degrees).ravel().tolist())
    again = sitk.Resample(image, image, sitk.Transform(), sitk.sitkLinear, FILL)
    return int((sitk.GetArrayFromImage(again) == FILL).sum())


ours, itk = lost_by_nibabel(7), lost_by_itk(7)
print(f"A face has {SHAPE[1] * SHAPE[2]} voxels. Turned by 7 degrees and resampled to its own grid, an image loses:")
print(f"with nibabel {ours} voxels (not turned: {lost_by_nibabel(0)}), with SimpleITK {itk}.")
print("Expected: none, since every voxel is at its own place.")
sys.exit(0 if ours > SHAPE[1] * SHAPE[2] and lost_by_nibabel(0) == itk == 0 else 1)
PYTHON
