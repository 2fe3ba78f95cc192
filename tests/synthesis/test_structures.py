"""`synthesize --structures` and `calibrate --structures` with a tiny network."""

import json
import shutil

import numpy as np
import pytest

from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.structure_bounds import StructureBounds
from sde_ct.volumes.files import read_volume, write_volume

from ..programs import call, listing

DRAWS = 3
BLOCKS = {"bladder": np.s_[10:14, 8:12, 2:4], "sacrum": np.s_[16:18, 8:12, 1:4]}


@pytest.fixture(scope="module")
def folder(phantoms, tmp_path_factory):
    """Two structures of the validation patient and of the test patient."""
    place = tmp_path_factory.mktemp("structures")
    for part in ("validation", "test"):
        (case,) = phantoms.of(part)
        mr = case.volume("mr")
        (place / case.id).mkdir()
        for name, block in BLOCKS.items():
            mask = np.zeros(mr.array.shape, np.uint8)
            mask[block] = 1
            write_volume(place / case.id / f"{name}.nii.gz", mr.with_array(mask, "mask"))
    return place


@pytest.fixture(scope="module")
def fitted(runs, folder, phantoms, tmp_path_factory):
    """What `calibrate --structures` said, and the work directory with its calibration."""
    run = shutil.copytree(runs("diffusion"), tmp_path_factory.mktemp("fitted") / "run")
    usual = [f"--workdir={run}", f"--data={phantoms.folder}", "--sampler=em"]
    flags = [f"--draws={DRAWS}", "--coverage=0.5", f"--structures={folder}"]
    return call("calibrate", *usual, *flags), run


@pytest.fixture
def synthesize(phantoms, runs, tmp_path):
    """`synthesize(*flags)`: the test patient, and the file of its structures."""
    (case,) = phantoms.of("test")
    usual = [f"--mr={case.folder / 'mr.nii.gz'}", "--sampler=em"]
    usual += [f"--draws={DRAWS}", f"--output={tmp_path / 'out'}"]
    return lambda *flags, run=None: (
        call("synthesize", f"--workdir={run or runs('diffusion')}", *usual, *flags),
        tmp_path / "out" / "structures" / f"{case.id}.json",
    )


def test_the_means_are_those_of_the_draws_that_are_written(synthesize, folder, tmp_path):
    done, path = synthesize(f"--structures={folder}", "--save_draws")
    assert done.status == 0, done.err
    values = json.loads(path.read_text())["structures"]
    draws = [read_volume(f, "a.u.").array for f in sorted((tmp_path / "out/draws").iterdir())]
    for name, block in BLOCKS.items():
        means = np.array([draw[block].mean() for draw in draws])
        # Files hold whole HU, which is an error of up to 0.5 in each voxel.
        assert values[name]["mean"] == pytest.approx(means.mean(), abs=0.5)
        assert values[name]["spread"] == pytest.approx(means.std(ddof=1), abs=0.5)
        assert values[name]["lower"] == pytest.approx(means.min(), abs=0.5)
        assert values[name]["interval"] == "range of 3 draws" and f"{name} " in done.out
    sidecar = json.loads((tmp_path / "out" / f"{path.stem}.json").read_text())
    assert f"structures/{path.name}" in sidecar["results"]
    assert set(sidecar["structures_sha256"]) == set(BLOCKS)
    before = listing(tmp_path / "out")
    again, _ = synthesize(f"--structures={folder}", "--save_draws")
    assert "is complete: nothing to do" in again.out and listing(tmp_path / "out") == before


def test_calibrated_bounds_are_fitted_and_shown(synthesize, folder, fitted):
    said, run = fitted
    assert said.status == 0, said.err
    assert "values (mean HU of bladder) lie within the bounds" in said.out
    assert "In 1 test patient, " in said.out
    record = recalibration.read(run / recalibration.NAME).structures
    bounds = StructureBounds.from_json(record).fitted
    done, path = synthesize(f"--structures={folder}", "--calibrated", run=run)
    assert done.status == 0, done.err
    values = json.loads(path.read_text())["structures"]
    for name in BLOCKS:
        right = bounds[name].apply(values[name]["mean"], values[name]["spread"])
        # The record holds 1e-4 HU of the spread, which counts half-width times.
        slack = {"abs": 1e-4 * (1 + bounds[name].half_width)}
        assert values[name]["upper"] == pytest.approx(right.upper, **slack)
        assert values[name]["interval"] == "calibrated 50 %"
        assert values[name]["guarantee"] == bounds[name].guarantee


def test_what_cannot_be_measured_is_refused(synthesize, folder, tmp_path):
    error = synthesize("--structures=nowhere")[0].error
    assert "--structures=nowhere is not a folder" in error
    assert "a single draw has none" in synthesize(f"--structures={folder}", "--draws=1")[0].error
    path = synthesize("--structures=nowhere")[1]
    (tmp_path / "none" / path.stem).mkdir(parents=True)
    done, path = synthesize(f"--structures={tmp_path / 'none'}")
    assert f"none/{path.stem} holds no structures: put a mask" in done.error
    empty = shutil.copytree(folder, tmp_path / "empty") / path.stem / "sacrum.nii.gz"
    mask = read_volume(empty, "mask")
    write_volume(empty, mask.with_array(0 * mask.array), overwrite=True)
    done, path = synthesize(f"--structures={tmp_path / 'empty'}")
    assert done.status == 0 and "structure sacrum, because it is empty" in done.out
    assert set(json.loads(path.read_text())["structures"]) == {"bladder"}


def test_a_folder_with_the_body_alone_holds_no_structure(synthesize, folder, tmp_path):
    path = synthesize("--structures=nowhere")[1]
    given = tmp_path / "given" / path.stem
    given.mkdir(parents=True)
    shutil.copy(folder / path.stem / "bladder.nii.gz", given / "BODY.nii.gz")
    error = synthesize(f"--structures={given.parent}")[0].error
    assert (
        "holds no structure that lies in" in error
        and "the name BODY is reserved for the body mask" in error
    )
    assert not (tmp_path / "out").exists()


def test_structures_are_added_to_an_output_and_others_are_refused(synthesize, folder, tmp_path):
    done, path = synthesize()
    assert done.status == 0 and not path.exists()
    sct = (tmp_path / "out" / "sct" / f"{path.stem}.nii.gz").read_bytes()
    done, _ = synthesize(f"--structures={folder}")
    assert done.status == 0 and path.exists()
    assert (tmp_path / "out" / "sct" / f"{path.stem}.nii.gz").read_bytes() == sct
    other = shutil.copytree(folder, tmp_path / "other") / path.stem
    (other / "sacrum.nii.gz").unlink()
    error = synthesize(f"--structures={other.parent}")[0].error
    assert "structures_sha256.sacrum: " in error


def test_patients_without_structures_are_refused_before_they_are_synthesized(
    runs, phantoms, folder, tmp_path
):
    workdir = shutil.copytree(runs("diffusion"), tmp_path / "run")
    usual = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em", "--draws=2"]
    (validation,) = phantoms.of("validation")
    without = shutil.copytree(folder, tmp_path / "without")
    shutil.rmtree(without / validation.id)
    error = call("calibrate", *usual, f"--structures={without}").error
    assert f"{without} holds no folder for {validation.id}" in error
    assert not (workdir / recalibration.NAME).exists()


def test_an_older_calibration_without_younger_options_fits(synthesize, folder, fitted, tmp_path):
    """`few_width` and `structures` are younger than the first calibrations."""
    run = shutil.copytree(fitted[1], tmp_path / "run")
    path = run / recalibration.NAME
    record = json.loads(path.read_text())
    del record["network"]["sampling"]["few_width"], record["structures"]
    path.write_text(json.dumps(record))
    done, _ = synthesize("--calibrated", f"--structures={folder}", run=run)
    assert done.status == 0, done.err
    assert "holds no bounds of bladder, sacrum, so the interval is the range" in done.out
