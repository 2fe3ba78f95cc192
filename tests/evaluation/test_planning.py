"""`evaluate --rays` and `--structures` with draws, against closed forms."""

import csv
import json
import re

import nibabel as nib
import numpy as np
import pytest

from sde_ct.lab.phantom.delineations import contours
from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.volumes.volume import Volume

from ..programs import call

SHAPE, AFFINE = (20, 18, 6), np.diag([2.0, 2.0, 3.0, 1.0])
SHIFTS = (-45, 0, 100)  # HU of the three draws; pyRadPlan's table has nodes there
POWERS = np.array([0.99, 1.0, 1.095])
MEAN_POWER = 1 + 0.095 * np.mean(SHIFTS) / 100
# The CT's HU scatter by 1 about 0 and each draw's about its shift, so that RSP are right to 0.001.
NEAR = {"rel": 0.002}


def body():
    inside = np.zeros(SHAPE, bool)
    inside[3:-3, 3:-3] = True
    return inside


def block(*corner, size=(3, 3, 2)):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(at, at + n) for at, n in zip(corner, size, strict=True))] = 1
    return mask


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array, np.int16), AFFINE), path)


TARGET = block(8, 7, 2)
PLANNED = {"PTV": TARGET, "Bladder": block(4, 4, 1)}


@pytest.fixture
def place(tmp_path):
    """Two cases of water; their draws; their masks as targets; structures as masks or RTSTRUCT."""
    rng = np.random.default_rng(0)
    for name in ("anna", "bert"):
        scatter = [rng.integers(-1, 2, SHAPE) for _ in range(4)]
        ct, *draws = (
            np.where(body(), shift + noise, -1000 + noise)
            for shift, noise in zip((0, *SHIFTS), scatter, strict=True)
        )
        write(tmp_path / "ref" / f"{name}.nii.gz", ct)
        write(tmp_path / "sct" / f"{name}.nii.gz", np.mean(draws, axis=0))
        for number, draw in enumerate(draws):
            write(tmp_path / "draws" / f"{name}_{number:02d}.nii.gz", draw)
        write(tmp_path / "targets" / f"{name}.nii.gz", TARGET)
        write(tmp_path / "oar" / name / "bladder.nii.gz", block(4, 4, 1))
    rois = {"Sacrum": contours(Volume(block(10, 10, 1), AFFINE, "mask"))}
    sets = structures(Invented("ID-4711", "Doe^Jane"), "Plan", "CT", rois, {})
    save_all(tmp_path / "oar/bert", [sets], [1])
    return tmp_path


def evaluate(place, *flags, out="out", prediction="sct"):
    given = {"prediction": prediction, "reference": "ref", "draws": "draws", "output": out}
    return call("evaluate", *(f"--{k}={place / v}" for k, v in given.items()), *flags)


@pytest.fixture
def done(place):
    given = [f"--target={place / 'targets'}", f"--structures={place / 'oar'}"]
    finished = evaluate(place, "--rays=0,270", *given)
    assert finished.status == 0, finished.err
    return place / "out", finished


def test_path_lengths_and_their_errors(done):
    out, finished = done
    rows = [*csv.DictReader((out / "rays.csv").open())]
    assert [(row["patient"], row["gantry_degrees"]) for row in rows] == [
        (name, ray) for name in ("anna", "bert") for ray in ("0", "270", "surface")
    ]
    # From 0° there are voxels 9 to 14 and half of 8 along y; from 270°, the patient's right, 10 to
    # 16 and half of 9 along x.
    for row, depth in zip(rows, [2 * 6.5, 2 * 7.5, None] * 2, strict=True):
        real, values = float(row["real_mm"]), {k: float(v) for k, v in row.items() if "mm" in k}
        assert depth is None or real == pytest.approx(depth, **NEAR)
        assert values["nominal_mm"] == pytest.approx(MEAN_POWER * real, **NEAR)
        assert values["mean_mm"] == pytest.approx(POWERS.mean() * real, **NEAR)
        assert values["error_mm"] == pytest.approx((MEAN_POWER - 1) * real, abs=0.002 * real)
        ends = (values["lower_mm"], values["upper_mm"])
        assert ends == pytest.approx((0.99 * real, 1.095 * real), **NEAR)
    method = json.loads((out / "rays.json").read_text())["methods"]["prediction"]
    skill = POWERS.std(ddof=1) * np.sqrt(4 / 3) / (POWERS.mean() - 1)
    for figures in method["over_patients"].values():
        assert figures["patients"] == 2
        # The error is 2.8 % of the length and known to 0.2 % of it.
        assert figures["spread_over_error"] == pytest.approx(skill, rel=0.1)
    assert len(method["patients"]["anna"]["rays"]["real"]) == 2 * 19
    assert re.search(r"prediction +270 +2 +\+0\.4", finished.out)


def test_structures_and_sums_are_among_the_uncertainty(done):
    out, finished = done
    method = json.loads((out / "uncertainty.json").read_text())["methods"]["prediction"]
    assert method["structures"]["bladder"]["patients"] == 2
    assert method["structures"]["Sacrum"]["patients"] == 1
    bladder = method["patients"]["bert"]["structures"]["bladder"]
    # Means of 18 voxels whose HU scatter by 0.8.
    assert bladder["ct"] == pytest.approx(0, abs=1) and bladder["voxels"] == 18
    assert bladder["error"] == pytest.approx(np.mean(SHIFTS), abs=1)
    assert bladder["spread"] == pytest.approx(np.std(SHIFTS, ddof=1), abs=1)
    skill = np.std(SHIFTS, ddof=1) * np.sqrt(4 / 3) / np.mean(SHIFTS)
    assert method["structures"]["bladder"]["spread_over_error"] == pytest.approx(skill, rel=0.06)
    sums = [method["patients"][name]["sums"] for name in ("anna", "bert")]
    assert method["sums"]["along_z"] == pytest.approx(np.mean([one["along_z"] for one in sums]))
    assert method["sums"]["along_z"] == pytest.approx(skill, rel=0.06)
    assert re.search(r"method +along x +along y +along z +slice change", finished.out)
    assert re.search(r"prediction +Sacrum +1 +\+1\d\.", finished.out)


def test_the_report_shows_the_rays(done):
    page = (done[0] / "report.html").read_text()
    for name in ("anna", "bert"):
        assert f"Water-equivalent path lengths of prediction in {name}." in page
    assert "Water-equivalent path lengths (mm): mean of the draws against the CT" in page
    assert "Mean HU of structures: mean of" in page and "Sums over voxels, medians" in page
    words = "15.3 mm in the mean of the draws, range of the 3 draws 14.8 to 16.4 mm"
    assert page.count(f"gantry 270°: {words}") == 2


def test_the_same_command_gives_the_same_bytes_elsewhere(done, place):
    moved = place.rename(place.with_name("elsewhere"))
    given = [f"--target={moved / 'targets'}", f"--structures={moved / 'oar'}"]
    assert evaluate(moved, "--rays=0,270", *given, out="again").status == 0
    for name in ("rays.csv", "rays.json", "uncertainty.json", "report.html"):
        assert (moved / "out" / name).read_bytes() == (moved / "again" / name).read_bytes()


def test_one_patient_gets_a_table_of_its_own(place):
    target = f"--target={place / 'targets/anna.nii.gz'}"
    finished = evaluate(place, "--rays=0", target, prediction="sct/anna.nii.gz")
    assert finished.status == 0, finished.err
    assert re.search(
        r"^0° +1 +13\.2 +13\.4 +0\.75 +12\.9 to 14\.2 +13\.0 +\+0\.2$", finished.out, re.M
    )
    assert "the error is nominal minus real" in finished.out


def test_rays_that_the_real_ct_did_not_measure_are_left_out(place):
    ct = np.asarray(nib.load(place / "ref/anna.nii.gz").dataobj).copy()
    ct[..., 3:] = -1024  # filled by a registration program; the centre is in slice 2
    write(place / "ref/anna.nii.gz", ct)
    write(place / "masks/anna.nii.gz", body())
    flags = [f"--target={place / 'targets/anna.nii.gz'}", f"--mask={place / 'masks'}"]
    finished = evaluate(place, "--rays=0,270", *flags, prediction="sct/anna.nii.gz")
    assert finished.status == 0, finished.err
    rows = [*csv.DictReader((place / "out/rays.csv").open())]
    sentence = "the real CT did not measure 18 of 38 rays over their full length"
    assert sentence in finished.out and sentence in (place / "out/report.html").read_text()
    assert [row["rays"] for row in rows] == ["1", "1", "18"]
    for row in rows:  # a filled voxel would count as air
        assert float(row["real_mm"]) * MEAN_POWER == pytest.approx(float(row["nominal_mm"]), **NEAR)


def test_a_case_without_a_target_is_refused_and_the_others_are_not(place):
    (place / "targets/bert.nii.gz").unlink()
    finished = evaluate(place, "--rays=0", f"--target={place / 'targets'}")
    assert finished.status == 0
    assert "holds no target for bert: name it bert.nii.gz" in finished.err
    assert "bert" not in (place / "out/rays.csv").read_text()


def test_contours_are_targets_by_case(place):
    rois = {name: contours(Volume(mask, AFFINE, "mask")) for name, mask in PLANNED.items()}
    (place / "plans").mkdir()
    for name in ("anna", "bert"):
        plan = structures(Invented("ID-4711", "Doe^Jane"), "Plan", "CT", rois, {})
        save_all(place / "plans", [plan], [1])
        (place / "plans/RTSTRUCT00001.dcm").rename(place / f"plans/{name}.dcm")
    assert evaluate(place, "--rays=0", f"--target={place / 'plans'}:PTV").status == 0
    masks = evaluate(place, "--rays=0", f"--target={place / 'targets'}", out="masks")
    assert masks.status == 0
    assert (place / "out/rays.csv").read_bytes() == (place / "masks/rays.csv").read_bytes()
    (place / "plans/bert.dcm").write_text("no structures")
    finished = evaluate(place, "--rays=0", f"--target={place / 'plans'}:PTV", out="one")
    assert finished.status == 0 and "bert.dcm is damaged or not DICOM" in finished.err
    told = (place / "one/metrics.json").read_text()  # without the folders of this machine
    assert "plans/bert.dcm is damaged" in told and str(place) not in told
