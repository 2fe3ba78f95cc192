"""What the tests of other programs share: how to call one, and how to compare what it read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

HU, MM = 0, 1e-3  # a reader may differ by no HU, and by float32's rounding of coordinates


def program(name: str, package: str) -> str:
    """The path of a program; skips the test where it is absent."""
    places = (str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin")
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{name} is absent: apt-get install {package}")
    return found


def run(*command: object) -> str:
    """The output of a program, which must succeed; its messages follow."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels [x, y, z] of an image file and the affine from their indices to LPS mm."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, affine


def differences(
    array: np.ndarray, affine: np.ndarray, expected: np.ndarray, place: np.ndarray
) -> tuple[float, float]:
    """The largest difference in HU and in mm of a volume read, its axes in whatever order.

    Both affines lead to LPS mm. Every voxel read is looked up in `expected` by its place.
    """
    assert array.size == expected.size
    indices = np.moveaxis(np.indices(array.shape), 0, -1).reshape(-1, 3)
    points = indices @ affine[:3, :3].T + affine[:3, 3]
    own = np.rint(np.linalg.solve(place[:3, :3], (points - place[:3, 3]).T).T).astype(int)
    assert len(np.unique(own, axis=0)) == expected.size  # every voxel once
    apart = np.linalg.norm(own @ place[:3, :3].T + place[:3, 3] - points, axis=1).max()
    values = array.reshape(-1).astype(float) - expected[tuple(own.T)]
    return float(np.abs(values).max()), float(apart)
