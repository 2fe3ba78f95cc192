"""Files matched by case, and the program on them."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.cases import body_from_ct, evaluate_files, match_cases, parse_slices
from sde_ct.evaluation.protocols import VOLUME

ROOT = Path(__file__).resolve().parents[2]
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
SHAPE = (20, 18, 6)


def _write(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array, np.int16), affine), path)
    return path


def _ct(seed=0):
    rng = np.random.default_rng(seed)
    ct = np.full(SHAPE, -1000.0)
    ct[3:-3, 3:-3] = rng.integers(-150, 200, (14, 12, 6))
    ct[8:10, 8:10] = -900  # gas inside the body belongs to it
    ct[5, 5] = 800
    return ct


def _body():
    body = np.zeros(SHAPE, bool)
    body[3:-3, 3:-3] = True
    return body


@pytest.fixture
def cohort(tmp_path):
    """Two patients in SynthRAD's layout, predictions 30 HU too dense on odd slices."""
    shift = np.where(np.arange(SHAPE[2]) % 2, 30, 10)
    for i, name in enumerate(("1PA001", "1PA002")):
        ct = _ct(i)
        _write(tmp_path / f"ref/Task1/pelvis/{name}/ct.nii.gz", ct)
        _write(tmp_path / f"ref/Task1/pelvis/{name}/mr.nii.gz", ct)
        _write(tmp_path / f"sct/{name}.nii.gz", np.where(_body(), ct + shift, 0))
    return tmp_path


def test_body_is_the_largest_component_filled():
    ct = _ct()
    ct[0, 0] = 300  # the couch
    assert np.array_equal(body_from_ct(ct), _body())
    assert not body_from_ct(np.full(SHAPE, -1000.0)).any()


def test_synthrad_layout_and_slices(cohort):
    cases = match_cases(cohort / "sct", cohort / "ref")
    assert [case.name for case in cases] == ["1PA001", "1PA002"]
    row = evaluate_files(cases[0], VOLUME, "EM", parse_slices("1::2"))
    assert (row.method, row.patient) == ("EM", "1PA001")
    assert row.mae == row.mean_error == 30
    assert evaluate_files(cases[0], VOLUME, "EM").mae == 20


def test_masks_given_or_beside_the_reference(cohort):
    half = _body()
    half[:, :, 1:] = False
    _write(cohort / "ref/Task1/pelvis/1PA001/mask.nii.gz", half)
    beside = match_cases(cohort / "sct", cohort / "ref")
    assert beside[0].mask and beside[1].mask is None
    assert evaluate_files(beside[0], VOLUME, "EM").mae == 10
    for name in ("1PA001", "1PA002"):
        _write(cohort / f"masks/{name}.nii.gz", _body())
    given = match_cases(cohort / "sct", cohort / "ref", cohort / "masks")
    assert evaluate_files(given[0], VOLUME, "EM").mae == 20


def test_axes_in_another_order_are_the_same_grid(cohort):
    """A prediction stored as LPS, slices first, on the very voxels of its reference."""
    path = cohort / "sct/1PA001.nii.gz"
    image = nib.load(path)
    turned = image.as_reoriented([[1, -1], [2, 1], [0, -1]])
    assert turned.shape != image.shape
    nib.save(turned, path)
    cases = match_cases(cohort / "sct", cohort / "ref")
    assert evaluate_files(cases[0], VOLUME, "EM", parse_slices("1::2")).mae == 30


def test_spread_gives_the_rank_correlation(cohort):
    rng = np.random.default_rng(0)
    ct, error = _ct(), rng.permutation(20 * 18 * 6).reshape(SHAPE) / 20
    _write(cohort / "sct/1PA001.nii.gz", ct + np.rint(error))
    _write(cohort / "std/1PA001.nii.gz", np.rint(error) * 2)
    case = match_cases(
        cohort / "sct/1PA001.nii.gz",
        cohort / "ref",
        spread=cohort / "std",
    )[0]
    assert evaluate_files(case, VOLUME, "EM").spearman == pytest.approx(1)


def test_single_files(cohort):
    cases = match_cases(cohort / "sct/1PA001.nii.gz", cohort / "ref/Task1/pelvis/1PA001/mr.nii.gz")
    assert evaluate_files(cases[0], VOLUME, "EM").mae == 20


def test_refusals(cohort):
    sct, ref = cohort / "sct", cohort / "ref"
    one = ref / "Task1/pelvis/1PA001"
    with pytest.raises(InputError, match="does not exist"):
        match_cases(cohort / "none", ref)
    with pytest.raises(InputError, match="holds no predictions"):
        match_cases(ref, ref)
    with pytest.raises(InputError, match="one reference CT for 2 predictions"):
        match_cases(sct, one / "ct.nii.gz")
    _write(sct / "1PA777.nii.gz", _ct())
    _write(sct / "1PA888.nii.gz", _ct())
    with pytest.raises(InputError, match="no reference CT for 1PA777, 1PA888"):
        match_cases(sct, ref)
    _write(ref / "copy/1PA001/ct.nii.gz", _ct())
    with pytest.raises(InputError, match="are both '1PA001'"):
        match_cases(sct / "1PA001.nii.gz", ref)


def test_another_grid_is_named_and_refused(cohort):
    _write(cohort / "sct/1PA002.nii.gz", _ct(), AFFINE + np.eye(4)[:, ::-1] * [0, 0, 0, 5])
    case = match_cases(cohort / "sct", cohort / "ref")[1]
    with pytest.raises(InputError, match=r"1PA002\.nii\.gz .* another grid"):
        evaluate_files(case, VOLUME, "EM")
    with pytest.raises(InputError, match="no body in the chosen slices"):
        first = match_cases(cohort / "sct", cohort / "ref")[0]
        evaluate_files(first, VOLUME, "EM", parse_slices("50:"))


def test_slices_are_read_as_python_reads_them():
    expected = {
        "": slice(None),
        ":": slice(None),
        "1::2": slice(1, None, 2),
        "3:7": slice(3, 7),
        "-4:": slice(-4, None),
        "5:1:-2": slice(5, 1, -2),
    }
    assert {text: parse_slices(text) for text in expected} == expected
    for bad in ("2", "a:b", "::0", "1:2:3:4", "1 :2"):
        with pytest.raises(InputError, match="give for example 1::2"):
            parse_slices(bad)


def _program(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "launch/evaluate.py", *arguments],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONIOENCODING": "utf-8"},
    )


def test_the_program_prints_writes_and_overwrites_nothing(cohort):
    arguments = [
        f"--prediction={cohort / 'sct'}",
        f"--reference={cohort / 'ref'}",
        f"--output={cohort / 'out'}",
        "--z_slices=1::2",
        "--method=EM",
    ]
    first = _program(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[2].split()[:4] == ["EM", "30.0", "±", "0.0"]
    record = json.loads((cohort / "out/metrics.json").read_text())
    assert record["settings"]["z_slices"] == "1::2"
    assert record["summary"]["EM"]["mae"]["mean"] == 30
    before = (cohort / "out/metrics.csv").read_bytes()
    again = _program(*arguments)
    assert again.returncode == 2 and "Traceback" not in again.stderr
    assert "exists already" in again.stderr and len(again.stderr.strip().splitlines()) == 1
    assert (cohort / "out/metrics.csv").read_bytes() == before
