"""`synthesize --calibrated`: the correction beside the checkpoint, applied as it was fitted."""

import dataclasses
import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sde_ct.synthesis import SyntheticCT
from sde_ct.synthesis import load as load_network
from sde_ct.synthesis.correction import UNLIKE, apply, network
from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.recalibration import ByTissue, Recalibration
from sde_ct.volumes.masks import AIR_BELOW, BONE_ABOVE
from sde_ct.volumes.volume import Volume

from ..programs import call, listing

FITTED = Recalibration(
    coverage=0.9,
    sampler="em",
    draws=3,
    factors=ByTissue(0.5, 2.0, 4.0),
    half_widths=ByTissue(1.0, 2.0, 3.0),
    patients=ByTissue(4, 4, 4),
    voxels=ByTissue(100, 1000, 100),
    verified={"patients": "test", "tissues": {"all": {"after": 0.89}}},
)


@pytest.fixture
def calibrated(runs, tmp_path):
    """`calibrated(**changes)`: a copy of the work directory with a correction in it."""
    fitted_for = network(load_network(runs("diffusion")))

    def copy(network=(), **changes):
        workdir = tmp_path / "run"
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(runs("diffusion"), workdir)
        fitted = dataclasses.replace(FITTED, network=fitted_for | dict(network), **changes)
        recalibration.write(workdir / recalibration.NAME, fitted)
        return workdir

    return copy


@pytest.fixture
def usual(phantoms, tmp_path):
    (case,) = phantoms.of("test")
    return [
        f"--mr={case.folder / 'mr.nii.gz'}",
        f"--output={tmp_path / 'out'}",
        "--sampler=em",
        "--draws=3",
    ]


def load(folder, kind, name):
    image = nib.load(folder / kind / f"{name}.nii.gz")
    assert image.get_data_dtype() == np.int16
    return np.asarray(image.dataobj, float)


def test_spread_and_bounds_are_the_fitted_ones(calibrated, usual, phantoms, tmp_path):
    workdir = calibrated()
    plain = call("synthesize", f"--workdir={workdir}", *usual)
    assert plain.status == 0, plain.err
    (name,), out = phantoms.split["test"], tmp_path / "calibrated"
    done = call("synthesize", f"--workdir={workdir}", *usual, f"--output={out}", "--calibrated")
    assert done.status == 0, done.err
    assert (
        "in about 90% of the body's voxels the CT lies within the bounds (guaranteed: " in done.out
    )
    mean, spread = (load(tmp_path / "out", kind, name) for kind in ("sct", "sct_std"))
    np.testing.assert_array_equal(load(out, "sct", name), mean)
    expected = FITTED.apply(mean, spread)
    # Away from the borders of tissues: there whole HU decide between two of them.
    known = (np.abs(mean[..., None] - np.array([AIR_BELOW, BONE_ABOVE])) > 1).all(-1)
    # The files hold mean and spread in whole HU: half a HU of each, times factor or half-width.
    for kind, values, slack in (
        ("sct_std", expected.spread, 0.5 * 4 + 0.5),
        ("sct_lower", expected.lower, 0.5 + 0.5 * 3 + 1),
        ("sct_upper", expected.upper, 0.5 + 0.5 * 3 + 1),
    ):
        assert np.abs(load(out, kind, name) - values)[known].max() <= slack, kind
    assert (load(out, "sct_lower", name) <= mean).all()
    assert (load(out, "sct_upper", name) >= mean).all()
    told = json.loads((out / f"{name}.json").read_text())
    assert told["calibrated"]["coverage"] == 0.9
    assert told["calibrated"]["guaranteed"]["bone"] == pytest.approx(0.72)
    assert told["calibrated"]["verified"]["tissues"]["all"]["after"] == 0.89
    assert "not voxels outside the body" in told["calibrated"]["holds_for"]
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["calibrated"] is None
    error = call("synthesize", f"--workdir={workdir}", *usual, "--calibrated").error
    assert "describes another request (calibrated" in error


REFUSED = {
    "sampler": ({"sampler": "ddpm"}, [], "(sampler: ddpm -> em)"),
    "draws": ({"draws": 10}, [], "(draws: 10 -> 3)"),
    "step": ({"network": {"step": 12}}, [], "(step: 12 -> 24)"),
    "weights": ({"network": {"weights_sha256": "f00"}}, [], "(weights_sha256: f00 -> "),
    "options": ({"network": {"sampling": {}}}, [], "(sampling.ddpm_steps: absent -> 8)"),
    "steps": ({}, ["--evaluations=15"], "leave out --evaluations"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_request_than_the_fitted_is_refused(name, calibrated, usual, tmp_path):
    changes, flags, sentence = REFUSED[name]
    workdir = calibrated(**changes)
    error = call("synthesize", f"--workdir={workdir}", *usual, "--calibrated", *flags).error
    assert sentence in error and not (tmp_path / "out").exists()


def test_what_has_no_correction_is_refused(calibrated, runs, usual, tmp_path):
    one = f"--workdir={runs('diffusion')}"
    assert "calibrate first" in call("synthesize", one, *usual, "--calibrated").error
    two = [one, f"--workdir={calibrated()}", "--calibrated"]
    assert "--calibrated takes one network" in call("synthesize", *two, *usual).error
    cnn = [f"--workdir={runs('cnn')}", usual[0], usual[1], "--calibrated"]
    assert "A cnn has no spread" in call("synthesize", *cnn).error
    (tmp_path / "run" / recalibration.NAME).write_text("{}")
    damaged = call("synthesize", f"--workdir={tmp_path / 'run'}", *usual, "--calibrated").error
    assert "calibration.json is damaged" in damaged
    assert not [p for p in listing(tmp_path) if p.startswith("out")]


def test_a_corrected_spread_says_so_in_dicom(calibrated, usual, phantoms, tmp_path):
    flags = [f"--workdir={calibrated()}", *usual, "--calibrated", "--dicom"]
    assert call("synthesize", *flags).status == 0
    (name,) = phantoms.split["test"]
    image = pydicom.dcmread(tmp_path / "out" / "dicom" / name / "sct_std.dcm")
    assert "scaled by tissue to the errors found" in image.DerivationDescription


def test_of_an_mr_unlike_the_trainings_the_coverage_is_not_stated_without_a_word(
    calibrated, usual, phantoms, tmp_path
):
    (case,) = phantoms.of("test")
    image = nib.load(case.folder / "mr.nii.gz")
    nib.save(
        nib.Nifti1Image(image.dataobj, image.affine @ np.diag([1, 1, 3, 1])), tmp_path / "z.nii"
    )
    flags = [f"--workdir={calibrated()}", *usual[1:], f"--mr={tmp_path / 'z.nii'}", "--calibrated"]
    done = call("synthesize", *flags)
    assert done.status == 0, done.err
    warnings = json.loads((tmp_path / "out" / "z.json").read_text())["warnings"]
    assert any("distance between slices" in w for w in warnings)
    assert warnings[-1] == UNLIKE and UNLIKE in done.err


def test_a_collapsed_spread_does_not_make_the_mr_unlike_the_trainings():
    volume = Volume(np.zeros((4, 4, 3), np.float32), np.eye(4), "HU")
    ct = SyntheticCT((volume,), volume, volume, 8, 0.1, 3, collapsed="The spread has collapsed.")
    assert apply(FITTED, ct).warnings == ("The spread has collapsed.",)
    both = apply(FITTED, dataclasses.replace(ct, unseen=("The voxels are larger.",)))
    assert both.warnings == ("The voxels are larger.", UNLIKE, "The spread has collapsed.")
