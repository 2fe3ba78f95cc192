"""`--sde`: one network of the form edm, sampled by both SDEs."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from sde_ct.config_record import from_dict
from sde_ct.errors import InputError
from sde_ct.synthesis import Synthesizer, load
from sde_ct.synthesis.trained import with_sde
from sde_ct.volumes.files import read_volume

from ..programs import call


@pytest.fixture(scope="module")
def mr_file(phantoms):
    (case,) = phantoms.of("test")
    return case.folder / "mr.nii.gz"


@pytest.mark.slow
def test_the_ode_ends_in_the_same_image_by_both_sdes(runs, mr_file):
    """With y = x/alpha, the flow depends on the noise ratio alone, whichever SDE brings it there.

    Both begin at the ratio of 10 here, so that equal noise gives equal images. The solver's
    tolerance of 1e-4 is 0.15 HU in each of some twenty steps, whose errors add up to 1.3 HU.
    """
    trained = load(runs("diffusion"))  # trained with VE
    config = trained.config
    beta_max = 2 * np.log1p(config.sde.sigma_max**2 - config.sde.sigma_min**2) - 0.1
    trained = trained._replace(
        config=dataclasses.replace(
            config,
            sde=dataclasses.replace(config.sde, beta_max=float(beta_max)),
            sampling=dataclasses.replace(config.sampling, ode_rtol=1e-4, ode_atol=1e-4),
        )
    )
    mr = read_volume(mr_file, "a.u.")
    draws = [
        Synthesizer(with_sde(trained, kind), "ode", jax.devices()[:1])(mr, case="a", draws=1)
        for kind in ("ve", "vp")
    ]
    ve, vp = (draw.mean.array for draw in draws)
    assert np.std(ve) > 100
    np.testing.assert_allclose(ve, vp, atol=5)


def test_another_sde_is_another_request(runs, phantoms, mr_file, tmp_path):
    flags = [f"--workdir={runs('diffusion')}", f"--mr={mr_file}", f"--output={tmp_path}"]
    flags += ["--sampler=em", "--draws=2"]
    (name,) = phantoms.split["test"]
    assert call("synthesize", *flags).status == 0
    assert "nothing to do" in call("synthesize", *flags, "--sde=ve").out  # that of the training
    error = call("synthesize", *flags, "--sde=vp").error
    assert "another request (checkpoints.0.configuration.sde.kind: ve -> vp)" in error
    flags[2] += "/vp"
    assert call("synthesize", *flags, "--sde=vp").status == 0
    record = json.loads((tmp_path / "vp" / f"{name}.json").read_text())
    assert from_dict(record["checkpoints"][0]["configuration"]).sde.kind == "vp"


def test_a_sidecar_without_later_fields_stays_complete(runs, phantoms, mr_file, tmp_path):
    """As earlier versions wrote it, before the configuration had these fields."""
    flags = [f"--workdir={runs('cnn')}", f"--mr={mr_file}", f"--output={tmp_path}"]
    assert call("synthesize", *flags).status == 0
    (name,) = phantoms.split["test"]
    path = tmp_path / f"{name}.json"
    record = json.loads(path.read_text())
    del record["checkpoints"][0]["configuration"]["residual"]
    path.write_text(json.dumps(record))
    done = call("synthesize", *flags)
    assert done.status == 0 and "nothing to do" in done.out, done.err


def test_a_network_bound_to_its_sde_is_refused(runs, mr_file, tmp_path):
    trained = load(runs("diffusion"))
    for form in ("epsilon", "score"):
        diffusion = dataclasses.replace(trained.config.diffusion, form=form)
        bound = trained._replace(config=dataclasses.replace(trained.config, diffusion=diffusion))
        with pytest.raises(InputError, match="knows the SDE of its training only: leave out --sde"):
            with_sde(bound, "vp")
    flags = [f"--workdir={runs('cnn')}", f"--mr={mr_file}", f"--output={tmp_path / 'out'}"]
    assert "follows no SDE: leave out --sde" in call("synthesize", *flags, "--sde=vp").error
    flags = [*flags[1:], f"--workdir={runs('diffusion')}", "--sampler=em", "--calibrated"]
    assert "leave out --sde" in call("synthesize", *flags, "--sde=vp").error
    assert not (tmp_path / "out").exists()
