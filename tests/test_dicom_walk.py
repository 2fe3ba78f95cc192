"""From a hospital's DICOM to a DICOM synthetic CT that lies on its own MR, as a user walks it.

A cohort in Gold Atlas's form is written, prepared, a network trained on it, and the T2 of the test
patient synthesized and written as a CT series. SimpleITK (GDCM) and pydicom, which know nothing of
this package, then say where it lies.
"""

import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from sde_ct.lab.phantom.gold_atlas import write_gold_atlas

from . import tiny
from .programs import call
from .volumes.dicom_series import patient_place

PATIENTS, TEST = ("1_01_P", "2_01_P", "1_02_P"), "1_02_P"
SHAPE, SPACING = (48, 40, 8), (10.0, 10.0, 10.0)  # all of the body in plane
BODY = -400  # HU: half-way between air and fat
PADDING = -1500  # HU: below lies no air, but what is outside a round field of view


def files_of(folder: Path, description: str) -> list[str]:
    """The slices of one series in a folder of several, by pydicom, along their normal."""
    images = {}
    for path in folder.iterdir():
        image = pydicom.dcmread(path, stop_before_pixels=True)
        if image.get("SeriesDescription") == description and "ImagePositionPatient" in image:
            along, down = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
            place = np.array([float(v) for v in image.ImagePositionPatient])
            images[float(place @ np.cross(along, down))] = str(path)
    return [images[place] for place in sorted(images)]


def volume(files: list[str]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(files)
    return sitk.Cast(reader.Execute(), sitk.sitkFloat32)


@pytest.fixture(scope="module")
def walk(tmp_path_factory) -> dict[str, list[str]]:
    """The slices of the test patient's T2, deformed CT and synthetic CT."""
    root = tmp_path_factory.mktemp("walk")
    cohort = root / "cohort"
    write_gold_atlas(cohort, seed=1, patients=PATIENTS, shape=SHAPE, spacing=SPACING)
    done = call(
        "prepare", "--source=gold_atlas", f"--input={cohort}", f"--output={root / 'data'}",
        "--spacing=10", "--size=48", f"--test={TEST}", "--validation=", "--workers=1",
    )  # fmt: skip
    assert done.status == 0, done.err
    config = tiny.experiment("cnn", steps=80, ema=0.9, validate_every=80, checkpoint_every=80)
    recipe = tiny.write_recipe(config, root / "recipe.py")
    flags = [f"--data={root / 'data'}", f"--workdir={root / 'run'}"]
    done = call("train", f"--config={recipe}", *flags)
    assert done.status == 0, done.err
    t2 = files_of(cohort / TEST, "t2_tse_tra")
    flags = [f"--workdir={root / 'run'}", f"--mr={t2[0]}", f"--output={root / 'out'}", "--dicom"]
    done = call("synthesize", *flags)
    assert done.status == 0, done.err
    (folder,) = (root / "out" / "dicom").glob("*/sct")
    written = sorted(map(str, folder.iterdir()))
    return {"T2": t2, "CT": files_of(cohort / TEST, "CTtoMR DIR"), "sCT": written}


def test_the_series_lies_on_the_grid_of_its_mr(walk):
    """Every corner by DICOM's own equation and by ITK; half a voxel, 5 mm, is what is asked."""
    mr, ct = (volume(walk[kind]) for kind in ("T2", "sCT"))
    assert mr.GetSize() == ct.GetSize()
    columns, rows, slices = mr.GetSize()
    by_tags = {}
    for kind in ("T2", "sCT"):
        images = [pydicom.dcmread(path, stop_before_pixels=True) for path in walk[kind]]
        images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
        by_tags[kind] = images
    for column, row, k in itertools.product((0, columns - 1), (0, rows - 1), (0, slices - 1)):
        one, other = (patient_place(by_tags[kind][k], column, row) for kind in ("T2", "sCT"))
        np.testing.assert_allclose(other, one, rtol=0, atol=0.01)  # decimals in tags
        places = [image.TransformIndexToPhysicalPoint((column, row, k)) for image in (mr, ct)]
        np.testing.assert_allclose(places[1], places[0], rtol=0, atol=0.01)
    first, own = by_tags["T2"][0], by_tags["sCT"][0]
    for tag in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert own[tag].value == first[tag].value
    assert own.SeriesInstanceUID != first.SeriesInstanceUID and own.Modality == "CT"


def seen_at(image: sitk.Image, like: sitk.Image, shift=(0, 0, 0)) -> np.ndarray:
    """`image` at the places of `like`'s voxels, moved by some of them; ITK's own geometry."""
    step = np.reshape(like.GetDirection(), (3, 3)) @ (np.array(shift) * like.GetSpacing())
    moved = sitk.TranslationTransform(3, tuple(float(v) for v in step))
    return sitk.GetArrayFromImage(sitk.Resample(image, like, moved, sitk.sitkLinear, -1024.0))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def best_shift(outline, seen, ct: sitk.Image, mr: sitk.Image, start: float = 0.0) -> list:
    """Voxels by which moving a CT would fit its body best, axis by axis, where it is `seen`.

    The misfit grows as the square of a small shift: the vertex of the parabola through three.
    """
    found = []
    for axis in range(3):
        shifts = [tuple((by + start) * (a == axis) for a in range(3)) for by in (-1, 0, 1)]
        left, here, right = (likeness(outline, (seen_at(ct, mr, s) > BODY) & seen) for s in shifts)
        found.append((right - left) / (2 * (2 * here - left - right)) if here > left else -1.0)
    return found


@pytest.mark.parametrize("by", ["real CT", "MR"])
def test_what_it_shows_lies_on_the_patient(walk, by):
    """The body's outline in the synthetic CT fits the patient's best within half a voxel.

    The patient's outline comes from the real CT, and once more from the MR alone, whose tissue
    is brighter than its air.
    """
    mr, ct, real = (volume(walk[kind]) for kind in ("T2", "sCT", "CT"))
    signal = sitk.GetArrayFromImage(mr)
    bright = signal > 0.1 * np.percentile(signal, 99)
    truth = seen_at(real, mr)
    seen = truth > PADDING if by == "real CT" else np.ones_like(bright)
    outline = truth > BODY if by == "real CT" else bright
    shown = (seen_at(ct, mr) > BODY) & seen
    assert likeness(outline, shown) > 0.9  # a voxel in or out all around costs about as much
    shift = best_shift(outline, seen, ct, mr)
    assert np.abs(shift).max() < 0.5, shift
    centres = [np.argwhere(mask).mean(axis=0) for mask in (shown, outline)]
    apart = centres[0] - centres[1]
    assert np.abs(apart).max() < 0.5, apart
    for axis in range(3):
        assert likeness(outline, np.flip(shown, axis)) < likeness(outline, shown)
    print(f"{by}: Dice {likeness(outline, shown):.3f}, best shift {np.round(shift, 2)}, "
          f"centres {np.round(apart, 2)} voxels apart")  # fmt: skip
    # The measure is not blunt: what is moved by 0.7 voxels is told to be off by more than a half.
    moved = np.subtract(best_shift(outline, seen, ct, mr, 0.7), shift)
    assert (moved < -0.5).all(), moved
