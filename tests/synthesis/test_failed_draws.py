"""Draws that show matter where the MR shows air: noise, or the work of an untrained network."""

import json

import jax
import nibabel as nib
import numpy as np
import pytest

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.synthesis import Synthesizer, load
from sde_ct.synthesis.synthetic_ct import combine
from sde_ct.uncertainty.draws import FEWEST_VOXELS, AirFigures, air_figures
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.slice_grid import to_slices

from .. import tiny
from ..programs import call


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(0, shape=(48, 40, 6), spacing=(8.0, 8.0, 16.0))


@pytest.mark.slow
def test_a_network_trained_for_ten_steps_is_named(phantoms, patient, tmp_path):
    tiny.train(tiny.experiment(steps=10), phantoms, tmp_path / "run")
    write_volume(tmp_path / "P.nii.gz", patient.mr)
    done = call(
        "synthesize", f"--workdir={tmp_path / 'run'}", f"--mr={tmp_path / 'P.nii.gz'}",
        f"--output={tmp_path / 'out'}", "--sampler=em", "--draws=2", "--save_draws",
    )  # fmt: skip
    assert done.status == 0, done.err
    record = json.loads((tmp_path / "out" / "P.json").read_text())
    found = record["air_around_body"]["above_-400_HU"]
    sentence = f"{100 * found:.2g} % of the air around the body lies above -400 HU"
    assert sentence in done.err and any(sentence in warning for warning in record["warnings"])
    # It is the larger share of the two draws, which the files hold in whole HU.
    shown = Synthesizer(load(tmp_path / "run"), "em", jax.devices()[:1])
    known = shown.draw(patient.mr, case="P", draws=1).given
    draws = [nib.load(tmp_path / "out" / "draws" / f"P_0{n}.nii.gz") for n in (0, 1)]
    shares = [np.mean(np.asarray(d.dataobj).T[known.air] > -400) for d in draws]
    assert found == pytest.approx(max(shares), abs=0.01)  # rounding at -400
    assert max(shares) > 0.1


def test_the_true_ct_is_no_failed_draw(runs, patient):
    synthesize = Synthesizer(load(runs("diffusion")), "em", jax.devices()[:1])
    drawn = synthesize.draw(patient.mr, case="P", draws=1)
    hu = to_slices(patient.ct, drawn.given.grid)[None]
    figures = air_figures(hu, drawn.given.air, -1000)
    true = drawn._replace(hu=hu, air=figures, unseen=())
    assert combine([true], -1000).warnings == () and figures.not_air == 0
    # The worse of two networks counts.
    assert drawn.air.warning in combine([true, drawn], -1000).warnings


def test_the_worst_draw_counts_and_few_voxels_say_nothing():
    air = np.ones((1, 10, 20), bool)
    draws = np.full((3, *air.shape), -1000.0)
    draws[1, 0, 0, :5] = -399  # 5 of 200 voxels
    draws[2] = -960
    found = air_figures(draws, air, -1000)
    assert found == (0.025, -960) and "2.5 % of the air" in found.warning
    assert AirFigures(0.01, -850).warning is None
    assert "has -764 HU on average" in AirFigures(0, -764).warning
    assert air_figures(draws, air, -800) is None
    air.ravel()[FEWEST_VOXELS - 1 :] = False
    assert air_figures(draws, air, -1000) is None
