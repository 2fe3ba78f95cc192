"""`launch/calibrate.py` on a tiny network: what it writes is what its own draws ask for."""

import json
import shutil

import numpy as np
import pytest

from sde_ct.lab.comparison import held_out
from sde_ct.lab.phantom.delineations import contours
from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.synthesis import Synthesizer, load
from sde_ct.synthesis.planning import ranges_in
from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.range_bounds import RangeBounds
from sde_ct.uncertainty.ray_plan import plan_of_flags
from sde_ct.volumes.files import read_volume, write_volume

from .. import tiny
from ..programs import call, listing

DRAWS = 3


@pytest.fixture(scope="module")
def workdir(runs, tmp_path_factory):
    """A copy, because the session's must not change."""
    return shutil.copytree(runs("diffusion"), tmp_path_factory.mktemp("calibrate") / "run")


@pytest.fixture(scope="module")
def calibrated(workdir, phantoms):
    usual = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em"]
    done = call("calibrate", *usual, f"--draws={DRAWS}", "--coverage=0.8")
    assert done.status == 0, done.err
    return done, usual


def test_intervals_cover_what_is_stated_of_the_fitted_patient(calibrated, workdir, phantoms):
    found = recalibration.read(workdir / recalibration.NAME)
    assert (found.sampler, found.draws, found.coverage) == ("em", DRAWS, 0.8)
    assert found.network["step"] == 24 and found.network["sampling"]["em_steps"] == 12
    assert found.network["weights_sha256"] == load(workdir).sha256()
    (patient,) = held_out(phantoms, "validation")
    synthesize = Synthesizer(load(workdir), "em")
    ct = synthesize(patient.mr, case=patient.id, draws=DRAWS, seed=0, mask=patient.mask)
    mean, truth, mask = ct.mean.array, patient.ct.array, patient.mask.array > 0
    spread, low, high = found.apply(mean, ct.spread.array)
    inside = ((low <= truth) & (truth <= high))[mask]
    # Of one patient the quantile covers exactly what it says, up to one voxel in each tissue; the
    # outward rounding adds what lies within a HU of the bounds, of intervals hundreds wide.
    assert 0.8 <= inside.mean() < 0.8 + 3 / inside.size + 0.02
    # Spread-skill of 1 in every predicted tissue is spread-skill of 1 over all of them.
    mse = np.square(mean - truth)[mask].mean()
    assert np.square(spread)[mask].mean() * (DRAWS + 1) / DRAWS == pytest.approx(mse, rel=1e-4)
    assert found.guaranteed.soft == pytest.approx(0.4)


def test_it_tells_of_the_test_patients(calibrated, workdir):
    done, _ = calibrated
    assert f"{workdir}/calibration.json: fitted on 1PA004." in done.out
    assert "made for a coverage of 80%" in done.out and "soft 40%" in done.out
    assert "1 patient: there are no intervals" in done.out
    (line,) = (line for line in done.out.splitlines() if line.startswith("all"))
    before, after = (float(word.rstrip("%")) for word in line.split()[1:3])
    assert 0 < before < 100 and 50 < after <= 100
    record = recalibration.read(workdir / recalibration.NAME).verified
    assert record["patients"] == "test" and record["tissues"]["all"]["patients"] == 1
    assert record["tissues"]["all"]["after"] == pytest.approx(after / 100, abs=5e-4)
    assert record["tissues"]["all"]["interval"] == [None, None]  # of one patient there is none
    assert "paired" not in done.out  # nothing is compared


def test_nothing_is_written_where_the_test_patients_cannot_be_read(phantoms, runs, tmp_path):
    workdir = shutil.copytree(runs("diffusion"), tmp_path / "run")
    data = shutil.copytree(phantoms.folder, tmp_path / "data")
    index = json.loads((data / "dataset.json").read_text())
    (name,) = index["split"]["test"]
    (data / "cases" / name / "mr.nii.gz").write_bytes(b"cut")
    usual = [f"--workdir={workdir}", f"--data={data}", "--sampler=em", "--draws=2"]
    assert "mr.nii.gz is damaged" in call("calibrate", *usual).error
    assert not (workdir / recalibration.NAME).exists()


def test_what_is_refused(calibrated, workdir, phantoms, tmp_path):
    _, usual = calibrated
    before = listing(workdir)
    assert "calibration.json exists: remove it" in call("calibrate", *usual).error
    fresh = tiny.untrained(tiny.experiment("diffusion"), phantoms, tmp_path / "diffusion")
    elsewhere = shutil.copytree(phantoms.folder, tmp_path / "data")
    index = json.loads((elsewhere / "dataset.json").read_text())
    names, others = index["split"]["train"], index["split"]["validation"]
    index["split"] |= {"train": names[1:], "validation": [names[0], *others]}
    (elsewhere / "dataset.json").write_text(json.dumps(index))
    asked = ["calibrate", "--sampler=em", f"--workdir={fresh}"]
    error = call(*asked, f"--data={elsewhere}").error
    assert f"{names[0]} of the validation patients" in error and "was trained on" in error
    index["split"] |= {"train": [*names, *others], "validation": []}
    (elsewhere / "dataset.json").write_text(json.dumps(index))
    assert "has no validation patients" in call(*asked, f"--data={elsewhere}").error
    assert "give 0.9 for 90 %" in call(*asked, "--coverage=90", f"--data={elsewhere}").error
    cnn = tiny.untrained(tiny.experiment("cnn"), phantoms, tmp_path / "cnn")
    asked[-1] = f"--workdir={cnn}"
    assert "A cnn has no spread" in call(*asked, f"--data={phantoms.folder}").error
    assert listing(workdir) == before and not (fresh / "calibration.json").exists()


GANTRY = "--rays=0,90"


@pytest.fixture(scope="module")
def targets(phantoms, tmp_path_factory):
    """A target for the validation patient and for the test patient, on the MRs' grids."""
    folder = tmp_path_factory.mktemp("targets")
    for part in ("validation", "test"):
        (case,) = phantoms.of(part)
        mr = case.volume("mr")
        target = np.zeros(mr.array.shape, np.uint8)
        target[10:14, 8:12, 2:4] = 1
        write_volume(folder / f"{case.id}.nii.gz", mr.with_array(target, "mask"))
    return folder


@pytest.fixture(scope="module")
def with_rays(runs, phantoms, targets, tmp_path_factory):
    workdir = shutil.copytree(runs("diffusion"), tmp_path_factory.mktemp("rays") / "run")
    usual = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em"]
    flags = [f"--draws={DRAWS}", "--coverage=0.5", GANTRY, f"--targets={targets}"]
    done = call("calibrate", *usual, *flags)
    assert done.status == 0, done.err
    return workdir, done


@pytest.fixture
def synthesized(phantoms, targets, tmp_path):
    """`synthesized(workdir, *flags)`: the test patient with calibrated path lengths."""
    (case,) = phantoms.of("test")

    def synthesize(workdir, *flags):
        given = [f"--workdir={workdir}", f"--mr={case.folder / 'mr.nii.gz'}", "--sampler=em"]
        given += [f"--draws={DRAWS}", f"--output={tmp_path / 'out'}", "--calibrated"]
        given += [f"--target={targets / case.id}.nii.gz", *flags]
        return call("synthesize", *given), tmp_path / "out" / "rays" / f"{case.id}.json"

    return synthesize


def test_path_lengths_get_bounds_that_cover_the_fitted_patient(with_rays, phantoms, targets):
    workdir, done = with_rays
    record = recalibration.read(workdir / recalibration.NAME).path_lengths
    assert record["plan"]["gantry"] == [0, 90] and record["verified"]["patients"] == 1
    bounds = RangeBounds.from_json(record)
    (case,) = phantoms.of("validation")
    mr, ct = case.volume("mr"), case.volume("ct").array
    drawn = Synthesizer(load(workdir), "em")(
        mr, case=case.id, draws=DRAWS, seed=0, mask=case.volume("mask")
    )
    target = read_volume(targets / f"{case.id}.nii.gz", "mask")
    plan = plan_of_flags(["0", "90"], target=None, needs_target=False)
    ranges = ranges_in(drawn, mr, target, plan, name=case.id, ct=ct)
    scores = np.abs(ranges.figures.real - ranges.figures.mean)
    scores /= np.hypot(ranges.figures.spread, 0.1)
    # Of one patient at 50 %, the bounds hold every ray and touch the worst of each kind.
    assert bounds.centre.half_width == pytest.approx(scores[ranges.central].max())
    assert bounds.surface.half_width == pytest.approx(scores[~ranges.central].max())
    assert "With 1 validation patient, at least 50 % of new patients' values" in done.out
    assert "path length to the target's centre" in done.out and "In 1 test patient, " in done.out


def test_targets_of_contours_give_the_bounds_of_their_masks(
    runs, phantoms, targets, with_rays, tmp_path
):
    for path in targets.iterdir():
        mask = read_volume(path, "mask")
        rois = {"PTV": contours(mask), "Rest": contours(mask.with_array(1 - mask.array))}
        save_all(tmp_path, [structures(Invented("ID", "Doe^Jane"), "Plan", "MR", rois, {})], [1])
        (tmp_path / "RTSTRUCT00001.dcm").rename(tmp_path / path.name.replace(".nii.gz", ".dcm"))
    workdir = shutil.copytree(runs("diffusion"), tmp_path / "run")
    usual = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em"]
    flags = [f"--draws={DRAWS}", "--coverage=0.5", GANTRY]
    error = call("calibrate", *usual, *flags, f"--targets={tmp_path}").error
    assert "holds 2 ROIs: end the target with ':'" in error
    done = call("calibrate", *usual, *flags, f"--targets={tmp_path}:PTV")
    assert done.status == 0, done.err
    bounds, others = (recalibration.read(p / recalibration.NAME) for p in (workdir, with_rays[0]))
    assert bounds.path_lengths == others.path_lengths


def test_a_synthesis_prints_and_draws_the_calibrated_bounds(with_rays, synthesized):
    workdir, _ = with_rays
    done, path = synthesized(workdir, GANTRY)
    assert done.status == 0, done.err
    values = json.loads(path.read_text())
    bounds = RangeBounds.from_json(recalibration.read(workdir / recalibration.NAME).path_lengths)
    first = values["rows"][0]
    right = bounds.centre.apply(first["mean"], first["spread"])
    # The record holds 1e-4 mm of the spread, which counts half-width times.
    slack = {"abs": 1e-4 * (1 + bounds.centre.half_width)}
    assert first["lower"] == pytest.approx(max(right.lower, 0), **slack)
    assert first["upper"] == pytest.approx(right.upper, **slack)
    assert values["interval"] == "calibrated 50 % interval"
    assert values["guarantee"] == bounds.centre.guarantee and values["guarantee"] in done.out
    assert path.with_suffix(".png").exists()


def test_other_rays_than_the_calibrated_are_refused(with_rays, synthesized, tmp_path):
    for flags, change in (
        ([GANTRY + ",180"], "gantry.2: absent -> 180.0"),
        (["--rays=0"], "gantry.1: 90.0 -> absent"),
        ([GANTRY, "--stopping_power=matrad"], "stopping_power.hu.1: -999 -> 200"),
    ):
        done, _ = synthesized(with_rays[0], *flags)
        assert f"holds bounds of other path lengths ({change})" in done.error
    broken = shutil.copytree(with_rays[0], tmp_path / "broken")
    record = json.loads((broken / recalibration.NAME).read_text())
    record["path_lengths"]["centre"]["half_width"] = -1
    (broken / recalibration.NAME).write_text(json.dumps(record))
    assert "calibration.json is damaged" in synthesized(broken, GANTRY)[0].error
    assert not (tmp_path / "out").exists()


def test_an_older_calibration_has_no_bounds_of_path_lengths(with_rays, synthesized, tmp_path):
    older = shutil.copytree(with_rays[0], tmp_path / "older")
    record = json.loads((older / recalibration.NAME).read_text())
    del record["path_lengths"]
    (older / recalibration.NAME).write_text(json.dumps(record))
    done, path = synthesized(older, GANTRY)
    assert done.status == 0, done.err
    assert "holds no bounds of path lengths, so the interval is the range of the draws" in done.out
    assert json.loads(path.read_text())["guarantee"] is None


def test_without_targets_rays_lead_to_the_centre_of_the_body(runs, phantoms, synthesized, tmp_path):
    workdir = shutil.copytree(runs("diffusion"), tmp_path / "run")
    usual = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em"]
    done = call("calibrate", *usual, f"--draws={DRAWS}", GANTRY)
    assert done.status == 0, done.err
    assert "path length to the body's centre) for 90 % are infinite" in done.out
    record = recalibration.read(workdir / recalibration.NAME).path_lengths
    assert record["surface"] is None and record["centre"]["half_width"] is None
    done, path = synthesized(workdir, GANTRY)
    assert "the interval is the range of the 3 draws" in done.out
    assert "calibrate with at least 9 patients" in done.out and path.exists()
