"""Many draws of a volume share the evaluations of a residual network's regression."""

import dataclasses

import jax
import numpy as np
import pytest

from sde_ct.synthesis import Synthesizer, load, synthesizer
from sde_ct.volumes.volume import Volume


@pytest.fixture(scope="module")
def mr():
    """Tissue that grows brighter to one side, so that its mirror image differs from it."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (23, 17, 9)), indexing="ij")
    array = np.where(x**2 + y**2 + 0.2 * z**2 < 0.8, 300.0 + 60 * x, 5.0)
    array += np.random.default_rng(0).uniform(0, 5, array.shape)
    return Volume(array.astype(np.float32), np.diag([14.0, 17.0, 4.0, 1.0]), "a.u.")


# The sampler's evaluations: EM has 12 steps, and the student draws in one.
@pytest.mark.parametrize(
    ("method", "sampler", "own"), [("residual", "em", 12), ("distilled", None, 1)]
)
@pytest.mark.parametrize("devices", [1, 4])  # 9 slices: the last one is repeated on both
def test_draws_that_share_a_regression_are_those_that_do_not(
    runs, mr, method, sampler, own, devices
):
    synthesize = Synthesizer(load(runs(method)), sampler, jax.devices()[:devices])
    many = synthesize.draw(mr, case="knee", draws=4)
    alone = [synthesize.draw(mr, case="knee", draws=1, first=n) for n in range(4)]
    # 0.1 HU: float32 sums of a network in another order. The draws are hundreds of HU apart.
    np.testing.assert_allclose(many.hu, np.concatenate([one.hu for one in alone]), atol=0.1)
    assert np.abs(many.hu[0] - many.hu[1]).max() > 10
    # One regression for each draw, or two for all of them.
    assert [one.evaluations for one in alone] == [own + 1] * 4
    assert many.evaluations == own + 2 / 4


@pytest.mark.parametrize(("correlated", "shares"), [(True, False), (False, True)])
def test_large_volumes_that_are_one_sample_share_nothing(runs, mr, correlated, shares, monkeypatch):
    monkeypatch.setattr(synthesizer, "SHARED_UP_TO", 100)
    trained = load(runs("distilled"))
    sampling = dataclasses.replace(trained.config.sampling, correlated_noise=correlated)
    trained = trained._replace(
        config=dataclasses.replace(trained.config, sampling=sampling),
        data=trained.data | {"along_z_mm": 20.0},
    )
    synthesize = Synthesizer(trained, None, jax.devices()[:1])
    assert synthesize.draw(mr, case="knee", draws=4).evaluations == (1.5 if shares else 2)
