#!/usr/bin/env bash
# A NIfTI file stores the rotation of its qform as three float32 numbers of a quaternion; readers compute the
# fourth as sqrt(1 - b² - c² - d²). DICOM's order of axes, to the left and posterior, is half a turn away from
# NIfTI's, and near half a turn that fourth number is a small difference of numbers near 1. A tilt of 0.05 degrees
# is then lost: the far corner of a 460 mm field of view moves by 0.57 mm. A tilt ten times as large is kept.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nibabel==5.4.2 SimpleITK==2.5.2 numpy==2.2.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

print(f"nibabel {nib.__version__}, SimpleITK {sitk.Version_VersionString()}, numpy {np.__version__}")


def distance(degrees):
    """How far apart, in mm, qform and sform of a file written by SimpleITK put the last voxel."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    in_plane = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    image = sitk.Image(512, 512, 100, sitk.sitkUInt8)
    image.SetSpacing((0.9, 0.9, 2.5))
    image.SetDirection((in_plane @ tilt).ravel().tolist())
    path = Path(sys.argv[1]) / "scan.nii.gz"
    sitk.WriteImage(image, str(path))
    header = nib.load(path).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    return float(np.linalg.norm((header.get_qform() - header.get_sform()) @ [511, 511, 99, 1]))


small, large = distance(0.05), distance(0.5)
print(f"Tilted by 0.05 degrees: qform and sform lie {small:.2f} mm apart.")
print(f"Tilted by 0.5 degrees: {large:.3f} mm.")
print("Expected: both below 0.001 mm, the rounding of float32 at 500 mm.")
sys.exit(0 if small > 0.5 and large < 0.02 else 1)
PYTHON
