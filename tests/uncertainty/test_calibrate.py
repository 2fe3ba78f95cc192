"""`launch/calibrate.py` on a tiny network: what it writes is what its own draws ask for."""

import json
import shutil

import numpy as np
import pytest

from sde_ct.lab.comparison import held_out
from sde_ct.synthesis import Synthesizer, load
from sde_ct.uncertainty import recalibration

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
    assert found.network["step"] == 24 and found.network["sampling"]["em_steps"] == 8
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
    assert "1 patient: with fewer than 6" in done.out
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
