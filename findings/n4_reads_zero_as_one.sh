#!/usr/bin/env bash
# N4 corrects a bias field that multiplies the image, so that the unit of the image should not matter. It works on
# logarithms, and where no mask excludes them, voxels of exactly 0 keep the value 0 among the logarithms: N4 gives
# the result, bit by bit, of an image whose background is 1. In an MR with its background set to 0 and its tissue
# scaled to at most 1, the empty voxels then count as the brightest, and the field that is found depends on the
# unit. With a mask of the tissue it does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check SimpleITK==2.5.2 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import SimpleITK as sitk

print(f"SimpleITK {sitk.Version_VersionString()}, numpy {np.__version__}")
z, y, x = np.indices((16, 48, 48))
radius = np.hypot(y - 23.5, x - 23.5)
tissue = np.where(radius < 10, 600, 300) * np.exp((x - 24) / 48)  # a field from 0.6 on the left to 1.6
tissue *= 1 + 0.02 * np.random.default_rng(0).standard_normal(tissue.shape)
body = radius < 20
image = np.where(body, tissue, 0).astype(np.float32)
ring = body & (radius > 12)
left, right = ring & (x < 14), ring & (x > 34)


def n4(array, mask=None):
    correct = sitk.N4BiasFieldCorrectionImageFilter()
    correct.SetMaximumNumberOfIterations([20] * 3)
    masks = () if mask is None else (sitk.GetImageFromArray(mask.astype(np.uint8)),)
    return sitk.GetArrayFromImage(correct.Execute(sitk.GetImageFromArray(array), *masks))


def ratio(array):
    """Left over right in one tissue; 1 where the field is gone."""
    return float(array[left].mean() / array[right].mean())


print(f"Left over right in one tissue: {ratio(image):.3f}; 1 without the field.")
same, whole, masked = [], [], []
for name, unit in (("as it is", 1.0), ("scaled to 1", 1 / image.max())):
    scaled = (image * unit).astype(np.float32)
    ones = np.where(body, scaled, 1).astype(np.float32)
    result = n4(scaled)
    same.append(bool(np.array_equal(result[body], n4(ones)[body])))
    whole.append(ratio(result))
    masked.append(ratio(n4(scaled, body)))
    print(f"{name}: N4 without a mask {whole[-1]:.3f}, with one {masked[-1]:.3f}.")
print(f"Without a mask, a background of 0 and one of 1 give the same voxels in the body: {same}.")
print("Expected: one result whatever the unit; zeros, which have no logarithm, left out.")
steady = abs(masked[0] - masked[1]) < 1e-3 and abs(masked[0] - 1) < 0.01
sys.exit(0 if all(same) and abs(whole[0] - whole[1]) > 0.02 and steady else 1)
PYTHON
