"""Files matched by case, and the program on them."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.cases import evaluate_files, evaluate_methods
from sde_ct.evaluation.matching import match_cases
from sde_ct.evaluation.protocols import PROTOCOLS, VOLUME

from ..programs import call

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


def test_synthrad_layout_and_slices(cohort):
    cases = match_cases(cohort / "sct", cohort / "ref").cases
    assert [case.name for case in cases] == ["1PA001", "1PA002"]
    row, judged, _ = evaluate_files(cases[0], VOLUME, "EM", slice(1, None, 2))
    assert judged is None
    assert (row.method, row.patient) == ("EM", "1PA001")
    assert row.figures["mae"] == row.figures["mean_error"] == 30
    assert evaluate_files(cases[0], VOLUME, "EM")[0].figures["mae"] == 20


def test_linked_patients_are_found_and_loops_are_not_followed(cohort):
    """A selection of patients is often a folder of links."""
    chosen = cohort / "chosen"
    chosen.mkdir()
    (chosen / "1PA002").symlink_to(cohort / "ref/Task1/pelvis/1PA002")
    (chosen / "back").symlink_to(chosen)
    matched = match_cases(cohort / "sct", chosen)
    assert [case.name for case in matched.cases] == ["1PA002"]
    assert [refusal.case for refusal in matched.refused] == ["1PA001"]


def test_masks_given_or_beside_the_reference(cohort):
    half = _body()
    half[:, :, 1:] = False
    _write(cohort / "ref/Task1/pelvis/1PA001/mask.nii.gz", half)
    beside = match_cases(cohort / "sct", cohort / "ref").cases
    assert beside[0].mask and beside[1].mask is None
    assert evaluate_files(beside[0], VOLUME, "EM")[0].figures["mae"] == 10
    for name in ("1PA001", "1PA002"):
        _write(cohort / f"masks/{name}.nii.gz", _body())
    given = match_cases(cohort / "sct", cohort / "ref", cohort / "masks").cases
    assert evaluate_files(given[0], VOLUME, "EM")[0].figures["mae"] == 20


def test_axes_in_another_order_are_the_same_grid(cohort):
    """A prediction stored as LPS, slices first, on the very voxels of its reference."""
    path = cohort / "sct/1PA001.nii.gz"
    image = nib.load(path)
    turned = image.as_reoriented([[1, -1], [2, 1], [0, -1]])
    assert turned.shape != image.shape
    nib.save(turned, path)
    cases = match_cases(cohort / "sct", cohort / "ref").cases
    assert evaluate_files(cases[0], VOLUME, "EM", slice(1, None, 2))[0].figures["mae"] == 30


@pytest.mark.parametrize("fill", [0, -990])
@pytest.mark.parametrize("protocol", ["volume", "paper"])
def test_what_the_reference_did_not_measure_is_left_out_and_told(tmp_path, fill, protocol):
    """A perfect prediction has no error, though a registration filled 2 of 6 slices.

    The mask, that of an MR, has a third of its voxels there.
    """
    rng = np.random.default_rng(2)
    ct = np.where(_body(), _ct(), rng.integers(-1020, -960, SHAPE))
    _write(tmp_path / "sct/p.nii.gz", ct)
    ct = ct.copy()
    ct[..., 4:] = fill
    _write(tmp_path / "ref/p.nii.gz", ct)
    _write(tmp_path / "mask/p.nii.gz", _body())
    usual = _arguments(tmp_path, f"--mask={tmp_path / 'mask'}", f"--protocol={protocol}")
    done = call("evaluate", *usual, f"--output={tmp_path / 'out'}")
    assert done.status == 0, done.err
    assert "p: 33.3 % of the body was not measured by the real CT and is left out." in done.out
    (case,) = json.loads((tmp_path / "out/metrics.json").read_text())["cases"]
    assert case["mae"] == 0 and case["unmeasured"] == pytest.approx(100 / 3)


def test_spread_gives_the_rank_correlation(cohort):
    rng = np.random.default_rng(0)
    ct, error = _ct(), rng.permutation(20 * 18 * 6).reshape(SHAPE) / 20
    _write(cohort / "sct/1PA001.nii.gz", ct + np.rint(error))
    _write(cohort / "std/1PA001.nii.gz", np.rint(error) * 2)
    case = match_cases(
        cohort / "sct/1PA001.nii.gz",
        cohort / "ref",
        spread=cohort / "std",
    ).cases[0]
    assert evaluate_files(case, VOLUME, "EM")[0].figures["spearman"] == pytest.approx(1)


@pytest.fixture
def drawn(cohort):
    """Four draws of each case, numbered files for the one and a folder for the other; the
    prediction is their mean, rounded."""
    rng = np.random.default_rng(1)
    for i, name in enumerate(("1PA001", "1PA002")):
        draws = [_ct(i) + np.rint(rng.normal(0, 40, SHAPE)) for _ in range(4)]
        for n, draw in enumerate(draws):
            path = f"{name}_{n:02d}.nii.gz" if i == 0 else f"{name}/draw_{n:03d}.nii.gz"
            _write(cohort / "draws" / path, draw)
        _write(cohort / f"sct/{name}.nii.gz", np.rint(np.mean(draws, axis=0)))
    _write(cohort / "draws/1PA001_00_old.nii.gz", _ct())  # of no case
    return cohort


def test_draws_are_judged(drawn):
    found = match_cases(drawn / "sct", drawn / "ref", draws=drawn / "draws")
    assert [[path.name for path in case.draws[:2]] for case in found.cases] == [
        ["1PA001_00.nii.gz", "1PA001_01.nii.gz"],
        ["draw_000.nii.gz", "draw_001.nii.gz"],
    ]
    row, judged, _ = evaluate_files(found.cases[0], VOLUME, "EM-M")
    assert judged.draws == 4 and row.figures["crps"] == pytest.approx(judged.by_tissue["all"].crps)
    # The truth is the draws' centre, without noise of its own: the mean errs by 40 / √4, the
    # spread is 40: √(5/4) 40 / 20. 1000 voxels know it to 3 %.
    assert row.figures["spread_skill"] == pytest.approx(np.sqrt(5), rel=0.08)
    assert judged.by_draws.rmse == pytest.approx(40 / np.sqrt(np.arange(1, 5)), rel=0.1)
    assert judged.by_draws.limit < 5


def test_draws_of_another_prediction_are_doubted(drawn):
    found = match_cases(drawn / "sct", drawn / "ref", draws=drawn / "draws")
    case = found.cases[0]
    assert evaluate_files(case, VOLUME, "EM-M").doubt == ""
    other = dataclasses.replace(case, draws=found.cases[1].draws)
    doubt = evaluate_files(other, VOLUME, "EM-M").doubt
    assert "differs by" in doubt and "give all draws of this prediction" in doubt


def test_cases_without_draws_are_refused(drawn):
    for path in (drawn / "draws/1PA002").glob("draw_00[1-3]*"):
        path.unlink()
    found = match_cases(drawn / "sct", drawn / "ref", draws=drawn / "draws")
    assert [case.name for case in found.cases] == ["1PA001"]
    assert "holds 1 draws of 1PA002, but a spread needs 2" in found.refused[0].reason
    with pytest.raises(InputError, match="give the folder of all draws"):
        match_cases(drawn / "sct", drawn / "ref", draws=drawn / "draws/1PA001_00.nii.gz")


def test_single_files(cohort):
    files = cohort / "sct/1PA001.nii.gz", cohort / "ref/Task1/pelvis/1PA001/mr.nii.gz"
    cases, refused, missing = match_cases(*files)
    assert evaluate_files(cases[0], VOLUME, "EM")[0].figures["mae"] == 20
    assert refused == missing == []


def test_refusals(cohort):
    sct, ref = cohort / "sct", cohort / "ref"
    one = ref / "Task1/pelvis/1PA001"
    with pytest.raises(InputError, match="does not exist"):
        match_cases(cohort / "none", ref)
    with pytest.raises(InputError, match="holds no predictions"):
        match_cases(ref, ref)
    with pytest.raises(InputError, match="one reference CT for 2 predictions"):
        match_cases(sct, one / "ct.nii.gz")


def test_a_case_without_its_files_is_refused_alone(cohort):
    sct, ref = cohort / "sct", cohort / "ref"
    for name in ("1PA002_fold0", "1PA777"):  # another name for a case, a case of another cohort
        _write(sct / f"{name}.nii.gz", _ct())
    (sct / "1PA002.nii.gz").unlink()
    _write(sct / "._1PA001.nii.gz", _ct())  # what a Mac leaves beside each file
    found = match_cases(sct, ref)
    assert [case.name for case in found.cases] == ["1PA001"]
    assert [case for case, _ in found.refused] == ["1PA002_fold0", "1PA777"]
    assert "ref holds no reference CT for 1PA777" in found.refused[1].reason
    assert [case for case, _ in found.missing] == ["1PA002"]
    assert "sct has no prediction for this patient" in found.missing[0].reason
    _write(ref / "copy/1PA001/ct.nii.gz", _ct())
    twice = match_cases(sct, ref)
    assert twice.cases == [] and "are both '1PA001'" in twice.refused[0].reason


def test_flat_references_and_other_suffixes(cohort):
    for name in ("1PA001", "1PA002", "1PA003"):
        _write(cohort / f"flat/{name}.nii", _ct())
    found = match_cases(cohort / "sct", cohort / "flat")
    assert [case.reference.name for case in found.cases] == ["1PA001.nii", "1PA002.nii"]
    assert [case for case, _ in found.missing] == ["1PA003"]
    _write(cohort / "sct/1PA001.nii", _ct())
    assert "are both '1PA001'" in match_cases(cohort / "sct", cohort / "flat").refused[0].reason


@pytest.fixture
def damaged(cohort):
    """Beside two good cases one of each kind that a file can be bad."""
    holed = _ct().astype(np.float32)
    holed[5, 5, 2] = np.nan
    bad = {"nan": holed, "grid": _ct(), "mask": _ct(), "short": _ct()[..., 1:], "text": _ct()}
    bad["full"] = _ct()
    for name, array in bad.items():
        _write(cohort / f"ref/Task1/pelvis/{name}/ct.nii.gz", _ct())
        image = nib.Nifti1Image(array.astype(np.float32), AFFINE)
        nib.save(image, cohort / f"sct/{name}.nii.gz")
    _write(cohort / "sct/grid.nii.gz", _ct(), AFFINE + np.eye(4)[:, ::-1] * [0, 0, 0, 5])
    _write(cohort / "ref/Task1/pelvis/mask/mask.nii.gz", np.zeros(SHAPE))
    _write(cohort / "ref/Task1/pelvis/full/mask.nii.gz", np.ones(SHAPE))
    (cohort / "sct/text.nii.gz").write_text("not an image")
    return cohort


REASONS = {
    "nan": "sct/nan.nii.gz holds 1 voxels that are not finite",
    "grid": "sct/grid.nii.gz (20 x 18 x 6 voxels of 2 x 2 x 3 mm at 5, 0, 0) lies on another grid",
    "mask": "pelvis/mask/mask.nii.gz is empty",
    "full": "pelvis/full/mask.nii.gz marks every voxel",
    "short": "sct/short.nii.gz (20 x 18 x 5 voxels",
    "text": "sct/text.nii.gz is damaged",
}


def test_what_cannot_be_used_is_named_and_the_rest_evaluated(damaged):
    matched = match_cases(damaged / "sct", damaged / "ref")
    rows, refused, *_ = evaluate_methods({"EM": matched}, VOLUME)["EM"]
    assert [row.patient for row in rows] == ["1PA001", "1PA002"]
    assert [row.figures["mae"] for row in rows] == [20, 20]
    assert {case for case, _ in refused} == set(REASONS)
    for case, reason in refused:
        assert REASONS[case] in reason


def test_methods_are_compared_on_common_patients(damaged):
    for name in ("1PA001", "nan"):  # this method has a case that the other has not
        _write(damaged / f"other/{name}.nii.gz", _ct())
    matched = {n: match_cases(damaged / n, damaged / "ref") for n in ("sct", "other")}
    found = evaluate_methods(matched, VOLUME)
    assert [[row.patient for row in rows] for rows, *_ in found.values()] == [["1PA001"]] * 2
    assert ("1PA002", "nan") == (found["sct"].refused[-1].case, found["other"].refused[0].case)
    assert "Another method has no figures" in found["sct"].refused[-1].reason
    # The other's missing cases are all the reference has beside its two.
    assert [case for case, _ in found["other"].refused[1:]] == sorted(
        {"1PA002", *REASONS} - {"nan"}
    )


def test_a_poor_prediction_counts_and_is_named(cohort):
    """Refusing it would let the method gain by its worst case. References are still refused."""
    _write(cohort / "sct/1PA001.nii.gz", _ct() + 1024)
    _write(cohort / "sct/1PA002.nii.gz", np.full(SHAPE, -1000))
    _write(cohort / "sct/1PA003.nii.gz", _ct(2))
    _write(cohort / "ref/Task1/pelvis/1PA003/ct.nii.gz", _ct(2) + 1024)
    done = call("evaluate", *_arguments(cohort, f"--output={cohort / 'out'}"))
    assert done.status == 0, done.err
    record = json.loads((cohort / "out/metrics.json").read_text())
    mae = {case["patient"]: case["mae"] for case in record["cases"]}
    assert mae["1PA001"] == 1024 and set(mae) == {"1PA001", "1PA002"}
    (refused,) = record["refused"]
    assert refused["case"] == "1PA003" and "ct.nii.gz is not in HU" in refused["reason"]
    first, second = record["warnings"]
    assert first["case"] == "1PA001" and "sct/1PA001.nii.gz may not be in HU" in first["reason"]
    assert "its units look like HU + 1024" in first["reason"] and "subtract 1024" in done.err
    assert second["case"] == "1PA002" and "every voxel is the same" in second["reason"]
    assert "warning (prediction) 1PA001: " in done.err
    assert "its units look like HU + 1024" in (cohort / "out/report.html").read_text()


def test_an_offset_draw_is_named(drawn):
    path = drawn / "draws/1PA001_02.nii.gz"
    _write(path, nib.load(path).get_fdata() + 1024)
    (case, _), *_ = match_cases(drawn / "sct", drawn / "ref", draws=drawn / "draws")
    row, _, doubt = evaluate_files(case, VOLUME, "EM")
    assert "1PA001_02.nii.gz may not be in HU" in doubt
    # One of 4 draws 1024 HU too high: a standard deviation of 1024 / 2, plus its 40 HU of noise.
    assert row.figures["spread"] == pytest.approx(512, rel=0.05)


def test_no_body_in_the_chosen_slices(cohort):
    first = match_cases(cohort / "sct", cohort / "ref").cases[0]
    with pytest.raises(InputError, match="no body in the chosen slices"):
        evaluate_files(first, VOLUME, "EM", slice(50, None))


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


def _arguments(place, *more):
    return [f"--prediction={place / 'sct'}", f"--reference={place / 'ref'}", *more]


def test_the_program_names_what_it_refuses(damaged):
    _write(damaged / "sct/unknown.nii.gz", _ct())
    done = call(
        "evaluate", *_arguments(damaged, f"--output={damaged / 'out'}", "--protocol=volume")
    )
    assert done.status == 0, done.err
    record = json.loads((damaged / "out/metrics.json").read_text())
    assert [case["patient"] for case in record["cases"]] == ["1PA001", "1PA002"]
    assert {r["case"]: r["method"] for r in record["refused"]} == dict.fromkeys(
        [*REASONS, "unknown"], "prediction"
    )
    for refusal in record["refused"]:
        assert REASONS.get(refusal["case"], "ref holds no reference CT") in refusal["reason"]
        assert f"refused (prediction) {refusal['case']}: " in done.err
    assert "2 patients: with fewer than 6" in done.out


def test_the_same_predictions_give_the_same_bytes_anywhere(damaged):
    elsewhere = damaged.with_name(damaged.name + "-elsewhere")
    shutil.copytree(damaged, elsewhere)
    for place in (damaged, elsewhere):
        done = call("evaluate", *_arguments(place, f"--output={place / 'out'}"))
        assert done.status == 0, done.err
    for name in ("metrics.json", "metrics.csv"):
        first = (damaged / "out" / name).read_bytes()
        assert first == (elsewhere / "out" / name).read_bytes()
        assert str(damaged).encode() not in first


def test_the_program_fails_where_no_case_is_left(damaged):
    for path in damaged.glob("sct/1PA*"):
        path.unlink()
    done = call("evaluate", *_arguments(damaged, f"--output={damaged / 'out'}"))
    assert done.status == 2
    assert done.error.startswith("No case is left to evaluate: ")
    assert not (damaged / "out").exists()


def test_the_program_compares_several_methods(cohort):
    for i, name in enumerate(("1PA001", "1PA002")):
        _write(cohort / f"other/{name}.nii.gz", _ct(i) + 5)
    other = f"--prediction={cohort / 'other'}"
    done = call("evaluate", *_arguments(cohort, other, f"--output={cohort / 'out'}"))
    assert done.status == 0, done.err
    record = json.loads((cohort / "out/metrics.json").read_text())
    assert record["summary"]["other"]["mae"]["mean"] == 5
    (mae,) = record["comparisons"]["mae"]
    assert (mae["first"], mae["second"], mae["median_difference"]) == ("sct", "other", 15)
    again = [other, f"--output={cohort / 'again'}"]
    for wrong in (["--method=EM"], ["--method=EM", "--method=EM"], [f"--spread={cohort / 'sct'}"]):
        done = call("evaluate", *_arguments(cohort, *again, *wrong))
        assert done.status == 2 and ("--method" in done.error or "--spread" in done.error)
    assert not (cohort / "again").exists()


def test_the_program_judges_draws(drawn):
    draws = f"--draws={drawn / 'draws'}"
    done = call("evaluate", *_arguments(drawn, draws, f"--output={drawn / 'out'}"))
    assert done.status == 0, done.err
    assert "spread-skill" in done.out and "prediction: the mean of 1 draw errs by" in done.out
    names = "metrics.csv, metrics.json, uncertainty.json, report.html"
    assert done.out.endswith(f"{drawn / 'out'}: {names}\n")
    found = json.loads((drawn / "out/uncertainty.json").read_text())
    patients = found["methods"]["prediction"]["patients"]
    assert set(patients) == {"1PA001", "1PA002"}
    record = json.loads((drawn / "out/metrics.json").read_text())
    for case in record["cases"]:
        assert case["crps"] == pytest.approx(patients[case["patient"]]["by_tissue"]["all"]["crps"])
    (drawn / "out/metrics.json").unlink()
    (drawn / "out/metrics.csv").unlink()
    kept = (drawn / "out/uncertainty.json").read_bytes()
    done = call("evaluate", *_arguments(drawn, draws, f"--output={drawn / 'out'}"))
    assert "uncertainty.json exists already" in done.error
    assert (drawn / "out/uncertainty.json").read_bytes() == kept
    for wrong, words in (
        ([draws], "for each --prediction"),
        ([f"--spread={drawn}"], "leave it out"),
    ):
        done = call("evaluate", *_arguments(drawn, draws, *wrong, f"--output={drawn / 'o'}"))
        assert words in done.error and not (drawn / "o").exists()


def test_a_prediction_without_draws_stands_beside_one_with(drawn):
    """Its figures are those of a run of its own."""
    both = [f"--prediction={drawn / 'sct'}", "--method=CNN", "--method=EM-M"]
    done = call(
        "evaluate", *_arguments(drawn, *both), "--draws=none", f"--draws={drawn / 'draws'}",
        f"--output={drawn / 'out'}",
    )  # fmt: skip
    assert done.status == 0, done.err
    judged = json.loads((drawn / "out/uncertainty.json").read_text())["methods"]
    assert list(judged) == ["EM-M"]
    cases = json.loads((drawn / "out/metrics.json").read_text())["cases"]
    errors = {(case["method"], case["patient"]): case["mae"] for case in cases}
    assert len(errors) == 4
    for patient in ("1PA001", "1PA002"):  # both are the mean of the draws here
        assert errors["CNN", patient] == errors["EM-M", patient]
    assert [case["crps"] is None for case in cases if case["method"] == "CNN"] == [True, True]
    alone = _arguments(drawn, "--draws=none", f"--output={drawn / 'alone'}")
    assert "give --draws" in call("evaluate", *alone, "--rays=0", "--target=t").error
    assert call("evaluate", *alone).status == 0
    assert not (drawn / "alone/uncertainty.json").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_program_scores_by_every_protocol(protocol, tmp_path):
    shape = (24, 22, 12)
    rng = np.random.default_rng(3)
    ct = np.full(shape, -1000.0)
    ct[2:-2, 2:-2] = rng.integers(-150, 900, (20, 18, 12))
    for i in range(2):
        _write(tmp_path / f"ref/p{i}.nii.gz", ct)
        _write(tmp_path / f"sct/p{i}.nii.gz", ct + 40 * (i + 1) * (ct > -1000))
        _write(tmp_path / f"mask/p{i}.nii.gz", ct > -1000)
    options = (f"--mask={tmp_path / 'mask'}", f"--protocol={protocol.name}")
    done = call("evaluate", *_arguments(tmp_path, *options, f"--output={tmp_path / 'out'}"))
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "out/metrics.json").read_text())
    assert record["protocol"]["name"] == protocol.name
    assert record["settings"]["masks"] == {"p0": "given", "p1": "given"}
    first, second = record["cases"]
    assert (first["mae"], second["mae"]) == (40, 80)
    is_multiscale = protocol.similarity == "ms_ssim_3d"
    name, other = ("ms_ssim", "ssim") if is_multiscale else ("ssim", "ms_ssim")
    assert first[name] > second[name] > 0.5 and first["psnr"] > second["psnr"]
    # Each figure has its own name in the table, the files and the report.
    head = (tmp_path / "out/metrics.csv").read_text().splitlines()[0].split(",")
    assert name in head and other not in head + list(first)
    assert {column.name for column in protocol.columns} <= set(head)
    assert name in record["summary"]["prediction"] and name in record["comparisons"]
    titles = re.split(" {2,}", done.out.splitlines()[0])
    assert {"SSIM", "MS-SSIM"} & {*titles} == {"MS-SSIM" if is_multiscale else "SSIM"}
    assert ("MS-SSIM" in (tmp_path / "out/report.html").read_text()) == is_multiscale


def test_a_case_may_have_a_backslash_in_its_name(cohort):
    (cohort / "sct/1PA001.nii.gz").rename(cohort / "sct/1\\PA.nii.gz")
    pelvis = cohort / "ref/Task1/pelvis"
    (pelvis / "1PA001").rename(pelvis / "1\\PA")
    given = {"prediction": "sct", "reference": "ref", "output": "out", "export-dose": "dose"}
    done = call("evaluate", *(f"--{flag}={cohort / path}" for flag, path in given.items()))
    assert done.status == 0, done.err
    assert "prediction,1\\PA," in (cohort / "out/metrics.csv").read_text()
    assert (cohort / "dose/1\\PA/ct.mha").is_file()
