#!/usr/bin/env bash
# With scikit-image's uniform window of 7 x 7, a voxel should change SSIM within 3 voxels of itself. The filter of
# SciPy behind it keeps a running sum along each axis, which loses what it held at a NaN or at a fill such as the
# lowest float32 (-3.4e38): the map changes at all later rows and columns. So it does not help to average the map
# over a mask that leaves the voxel out, as challenges do, and a finite fill leaves numbers that look plausible.
# With Gaussian weights, which are summed anew for every voxel, only the window changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    scikit-image==0.25.2 scipy==1.15.3 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import scipy
import skimage
from skimage.metrics import structural_similarity

print(f"scikit-image {skimage.__version__}, SciPy {scipy.__version__}, numpy {np.__version__}")
rng = np.random.default_rng(0)
ct = rng.normal(0, 200, (64, 64))
sct = ct + rng.normal(0, 100, ct.shape)
PLACE, NEAR = (20, 20), (slice(10, 31), slice(10, 31))  # no window of 11 voxels reaches out of NEAR


def changed(fill, **window):
    """Voxels of the map that change far from the one voxel set to `fill` in both images, and their mean."""
    a, b = ct.copy(), sct.copy()
    a[PLACE] = b[PLACE] = fill
    with np.errstate(invalid="ignore"):
        maps = [
            structural_similarity(*pair, data_range=4000, full=True, **window)[1]
            for pair in ((ct, sct), (a, b))
        ]
    far = np.ones(ct.shape, bool)
    far[NEAR] = False
    different = ~np.isclose(*maps, atol=1e-6) & far
    return int(different.sum()), [m[different].sum() / max(1, different.sum()) for m in maps]


counts = {}
for fill in (np.nan, np.finfo(np.float32).min.astype(float)):
    for name, window in (("uniform", {}), ("Gaussian", {"gaussian_weights": True, "sigma": 1.5})):
        count, (before, after) = changed(fill, **window)
        counts[name, str(fill)] = count
        note = f", their mean SSIM from {before:.3f} to {after:.3f}" if count else ""
        print(f"{name} window, one voxel {fill:.3g}: {count} voxels far from it change{note}.")
print("Expected: none, since the window is 7 or 11 voxels wide.")
uniform = [count for (name, _), count in counts.items() if name == "uniform"]
sys.exit(0 if min(uniform) > 300 and sum(counts.values()) == sum(uniform) else 1)
PYTHON
