"""Small patients as files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

AFFINE = np.array([[-1.2, 0, 0, 30.0], [0, -1.2, 0, 40.0], [0, 0, 3.0, -100.0], [0, 0, 0, 1]])
SHAPE = (20, 18, 7)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def patient(shape=SHAPE, seed=0) -> dict[str, np.ndarray]:
    """An ellipse of tissue with a bone in air; intensities vary from voxel to voxel."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    body, bone = x**2 + y**2 < 0.7, (x - 0.2) ** 2 + y**2 < 0.06
    ct = np.where(bone, 700, np.where(body, 30, -1000)) + rng.integers(-20, 20, shape)
    mr = np.where(bone, 40, np.where(body, 300, 8)) + rng.integers(0, 10, shape)
    return {"mr": mr.astype("f4"), "ct": ct.astype("i2"), "mask": body.astype("u1")}


@pytest.fixture
def cohort(tmp_path) -> Path:
    """Five patients in SynthRAD2023's layout."""
    root = tmp_path / "cohort"
    for n in range(5):
        for name, array in patient(seed=n).items():
            save(root / "Task1" / "pelvis" / f"1PA00{n}" / f"{name}.nii.gz", array)
    return root
