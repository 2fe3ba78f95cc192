import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VESDE, VPSDE
from sde_ct.config import DiffusionConfig
from sde_ct.methods.diffusion import edm_form, epsilon_form, sample_time, score_form

SDES = {"vp": VPSDE(), "ve": VESDE(), "paper ve": VESDE.from_sigma(25)}
FORMS = {
    "edm": edm_form(-0.6, 0.5),
    "epsilon": epsilon_form(1000),
    "score": score_form(),
}


@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("t", [1e-3, 0.1, 0.5, 1.0])
def test_the_target_stands_for_the_conditional_score(sde, form, t):
    """With F = F*, the score is that of N(x_t; α x₀, σ²): -(x_t - α x₀)/σ² = -z/σ."""
    x0, z = jax.random.normal(jax.random.key(0), (2, 64))
    alpha, std = sde.marginal(t)
    x = alpha * (0.5 * x0 - 0.6) + std * z
    target = form.target(0.5 * x0 - 0.6, z, alpha, std)
    score = form.score(x, target, alpha, std)
    # float32 with a division by σ: relative to the largest score
    np.testing.assert_allclose(score * std, -z, atol=2e-4)


@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
@pytest.mark.parametrize("t", [1e-3, 0.1, 0.5, 1.0])
def test_edm_inputs_and_targets_have_unit_variance(sde, t):
    x0, z = jax.random.normal(jax.random.key(1), (2, 200_000))
    form, (alpha, std) = edm_form(-0.6, 0.5), sde.marginal(t)
    x = alpha * (0.5 * x0 - 0.6) + std * z
    # the standard error of a standard deviation from 200,000 values is 0.0016
    assert float(form.inputs(x, alpha, std).std()) == pytest.approx(1, abs=0.008)
    assert float(form.target(0.5 * x0 - 0.6, z, alpha, std).std()) == pytest.approx(1, abs=0.008)


def test_epsilon_label_is_the_integer_step():
    t = (1 + jnp.arange(1000)) / 1000
    np.testing.assert_allclose(FORMS["epsilon"].label(t, None, None), jnp.arange(1000), atol=1e-3)


@pytest.mark.parametrize("sde", SDES.values(), ids=SDES)
def test_lognormal_times(sde):
    config = DiffusionConfig(times="lognormal")
    t = jax.vmap(lambda k: sample_time(k, sde, config))(jax.random.split(jax.random.key(0), 20_000))
    assert config.time_min <= t.min() and t.max() <= 1
    inside = (t > config.time_min) & (t < 1)
    log_ratio = jnp.log(sde.noise_ratio(t))
    # the median ignores what the ends of the time range cut off; its standard error is 0.011
    assert float(jnp.median(log_ratio)) == pytest.approx(-1.2, abs=0.05)
    assert inside.mean() > 0.95


def test_discrete_and_uniform_times():
    keys = jax.random.split(jax.random.key(0), 5000)
    discrete = DiffusionConfig(times="discrete", steps=10)
    t = jax.vmap(lambda k: sample_time(k, VPSDE(), discrete))(keys)
    np.testing.assert_allclose(np.unique(np.round(np.asarray(t), 5)), np.arange(1, 11) / 10)
    uniform = DiffusionConfig(times="uniform", time_min=0.2)
    t = jax.vmap(lambda k: sample_time(k, VPSDE(), uniform))(keys)
    assert 0.2 <= t.min() < 0.21 and 0.99 < t.max() <= 1
