"""`--sampler=mean`: the regression of a residual network, without draws."""

import json

import jax
import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.synthesis import Synthesizer, load
from sde_ct.volumes.files import read_volume

from .. import tiny
from ..programs import call, listing

NOTE = "The CT is the mean without draws. It has no spread that shows where it is uncertain."


@pytest.fixture(scope="module")
def mr_file(phantoms):
    (case,) = phantoms.of("test")
    return case.folder / "mr.nii.gz"


@pytest.fixture
def usual(mr_file, tmp_path):
    return [f"--mr={mr_file}", f"--output={tmp_path / 'out'}", "--sampler=mean"]


def test_the_mean_is_one_ct_with_a_note(runs, phantoms, mr_file, usual, tmp_path):
    done = call("synthesize", f"--workdir={runs('residual')}", *usual)
    assert done.status == 0, done.err
    (name,) = phantoms.split["test"]
    assert [p for p in listing(tmp_path / "out") if "." in p] == [
        f"{name}.json",
        f"sct/{name}.nii.gz",
    ]
    # One evaluation for the MR and one for its mirror image.
    assert "1 draw, 2 network evaluations" in done.out and f"note: {NOTE}" in done.out
    record = json.loads((tmp_path / "out" / f"{name}.json").read_text())
    assert (record["sampler"], record["draws"], record["evaluations"]) == ("mean", 1, 2)
    assert NOTE in record["notes"]
    synthesize = Synthesizer(load(runs("residual")), "mean", jax.devices()[:1])
    ct = synthesize(read_volume(mr_file, "a.u."), case="any", draws=1, seed=7)
    assert ct.spread is None
    written = np.asarray(nib.load(tmp_path / "out" / "sct" / f"{name}.nii.gz").dataobj)
    # Files hold whole HU, and another number of devices may round otherwise by up to 0.01 HU.
    np.testing.assert_allclose(written, ct.mean.array, atol=0.51)


def test_draws_of_the_same_checkpoint_have_a_spread_and_no_note(runs, usual, tmp_path):
    usual[-1] = "--sampler=em"
    done = call("synthesize", f"--workdir={runs('residual')}", *usual, "--draws=2")
    assert done.status == 0 and "note:" not in done.out, done.err
    assert "2 draws, 13 network evaluations" in done.out  # the regression's, and 12 steps
    assert list((tmp_path / "out" / "sct_std").iterdir())


REFUSED = {
    "draws": (["--draws=2"], "draws=2: the sampler 'mean' always gives the same CT; give 1."),
    "evaluations": (["--evaluations=4"], "need a fixed number of evaluations: leave out --eval"),
    "SDE": (["--sde=vp"], "This synthesis follows no SDE: leave out --sde."),
    "calibrated": (["--calibrated"], "The sampler 'mean' has no spread: leave out --calibrated."),
    "method": (["--workdir=diffusion"], "has no regression for the sampler 'mean': give one of"),
    "CNN": (["--workdir=cnn"], "config.method='cnn' has no sampler: leave out sampler='mean'."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_go_with_the_mean_is_refused(name, runs, usual, tmp_path):
    flags, sentence = REFUSED[name]
    if not flags[0].startswith("--workdir"):
        flags = [f"--workdir={runs('residual')}", *flags]
    else:
        flags = [f"--workdir={runs(flags[0].removeprefix('--workdir='))}"]
    assert sentence in call("synthesize", *flags, *usual).error
    assert not (tmp_path / "out").exists()


def test_the_mean_is_not_calibrated(runs, phantoms):
    workdir = runs("residual")
    flags = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=mean"]
    error = call("calibrate", *flags).error
    assert error == "The sampler 'mean' has no spread: give another one."
    assert not (workdir / "calibration.json").exists()


def test_means_of_several_networks_show_their_disagreement_alone(runs, phantoms, usual, tmp_path):
    other = tiny.untrained(tiny.experiment("residual", seed=1), phantoms, tmp_path / "other")
    flags = [f"--workdir={runs('residual')}", f"--workdir={other}", *usual]
    done = call("synthesize", *flags)
    assert done.status == 0 and "2 draws of 2 networks, 2 network evaluations" in done.out, done.err
    assert "note: The spread is the disagreement of the networks' means." in done.out
    kinds = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert kinds == {"sct", "sct_std", "sct_std_between"}


def test_a_network_whose_denoiser_is_untrained_gives_its_mean_only(phantoms, usual, tmp_path):
    workdir = tiny.untrained(tiny.experiment("residual"), phantoms, tmp_path / "run")
    with pytest.raises(InputError, match=r"not been trained yet at step 0, .* the sampler 'mean'"):
        Synthesizer(load(workdir), "em")
    assert call("synthesize", f"--workdir={workdir}", *usual).status == 0
