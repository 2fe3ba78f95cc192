"""What every sampler promises beside its distribution: counting, independence, transformations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.errors import InputError
from sde_ct.sampling import (
    ddim,
    ddpm,
    dpm_solver,
    euler_maruyama,
    heun,
    predictor_corrector,
    probability_flow_ode,
    sample_keys,
    uniform_time,
    unipc,
)
from sde_ct.sampling.ddpm import uniform_chain
from sde_ct.sde import clip_denoised, denoised

SDE = VPSDE()
CHAINS = {
    "ddpm": (partial(ddpm, steps=7), 7),
    "em": (partial(euler_maruyama, steps=7), 7),
    "pc": (partial(predictor_corrector, steps=7, corrector_steps=2), 7 + 7 * 2),
    "pc-after": (
        partial(predictor_corrector, steps=7, corrector_steps=2, corrector_first=False),
        7 + 6 * 2,
    ),
    "pc-denoised": (partial(predictor_corrector, steps=7, denoise=True), 7 + 7 + 1),
    "ddim": (partial(ddim, steps=7, eta=0.5), 7),
    "dpm": (partial(dpm_solver, steps=7), 7),
    "dpm-sde": (partial(dpm_solver, steps=7, stochastic=True, denoise=True), 7 + 1),
    "unipc": (partial(unipc, steps=7), 7),
    "heun": (partial(heun, steps=7, churn=2.0), 14),
}
ALONE = ("ddpm", "em", "pc", "ddim", "dpm-sde", "unipc", "heun")
SAMPLERS = {name: CHAINS[name][0] for name in ALONE} | {"ode": probability_flow_ode}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
every_chain = pytest.mark.parametrize(("sampler", "nfe"), CHAINS.values(), ids=CHAINS)

# Rounding may differ between compilations. In the adaptive solver it can move a step, within the
# solver's tolerance of 1e-5 (1 + |x|).
close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)


def counted(score):
    """`score`, and the list that grows with each of its calls at run time."""
    calls = []

    def counting(x, t):
        jax.debug.callback(lambda _: calls.append(1), x.ravel()[0])
        return score(x, t)

    return counting, calls


@every_chain
def test_chains_count_their_evaluations(sampler, nfe, gaussian):
    score, calls = counted(gaussian(0.3, 0.5).score(SDE))
    samples = jax.jit(lambda key: sampler(key, SDE, score, (3, 2)))(jax.random.key(0))
    jax.effects_barrier()
    assert len(calls) == nfe
    np.testing.assert_array_equal(samples.nfe, [nfe] * 3)


@pytest.mark.parametrize(("batch", "denoise"), [(1, True), (3, False)])
def test_ode_counts_each_samples_own_evaluations(batch, denoise, gaussian):
    """Alone, exactly the calls made; a batch goes on until its last sample is done."""
    score, calls = counted(gaussian(jnp.zeros(2), jnp.array([0.5, 0.02])).score(SDE))
    run = jax.jit(
        lambda key: probability_flow_ode(key, SDE, score, (batch, 2), rtol=1e-3, denoise=denoise)
    )
    samples = run(jax.random.key(0))
    jax.effects_barrier()
    assert len(calls) == samples.nfe.max() > 1


def test_ode_counts_a_first_step_that_is_rejected(gaussian):
    """A score that wavers at the start, where the first try at a step is too long."""
    smooth = gaussian(jnp.zeros(2), 0.5).score(SDE)
    score, calls = counted(lambda x, t: smooth(x, t) + 40 * jnp.sin(40 * x) * (t > 0.98)[:, None])
    run = jax.jit(lambda key: probability_flow_ode(key, SDE, score, (1, 2), rtol=1e-3, atol=1e-3))
    samples = run(jax.random.key(0))
    jax.effects_barrier()
    assert samples.ok.all() and len(calls) == samples.nfe


@every_sampler
@pytest.mark.parametrize("shape", [(), (4, 5, 1)], ids=str)
def test_a_sample_alone_equals_itself_in_a_batch(sampler, shape, gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    key = jax.random.key(3)
    batch = jax.jit(lambda key: sampler(key, SDE, score, (5, *shape)))(key)
    alone = jax.jit(lambda key: sampler(key, SDE, score, (1, *shape)))(sample_keys(key, 5)[2:3])
    assert batch.x.shape == (5, *shape)
    assert batch.nfe.shape == batch.ok.shape == (5,)
    assert batch.nfe.dtype == jnp.int32
    close(alone.x[0], batch.x[2])
    assert len(np.unique(np.round(batch.x.reshape(5, -1)[:, 0], 6))) == 5


@every_sampler
def test_each_sample_meets_its_own_condition(sampler):
    """A score that holds one mean for each sample of the batch, as a network holds its MR."""
    means = jnp.array([-0.8, 0.0, 0.8])[:, None]

    def score(x, t):
        alpha, std = (value[:, None] for value in SDE.marginal(t))
        return -(x - alpha * means) / ((0.01 * alpha) ** 2 + std**2)

    sampler = partial(sampler, steps=200) if sampler is not probability_flow_ode else sampler
    samples = jax.jit(lambda key: sampler(key, SDE, score, (3, 4)))(jax.random.key(0))
    # Data of width 0.01, noise left at the end of the ODE 0.01: five of their sum.
    np.testing.assert_allclose(samples.x, jnp.broadcast_to(means, (3, 4)), atol=0.1)


@every_sampler
def test_jit_vmap_and_pmap_agree(sampler, gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    keys = jax.random.split(jax.random.key(0), 4)

    def run(key):
        return sampler(key, SDE, score, (2, 3))

    one_by_one = [jax.jit(run)(key).x for key in keys]
    close(jax.jit(jax.vmap(run))(keys).x, jnp.stack(one_by_one))
    assert len(jax.devices()) >= 4
    parallel = jax.pmap(run)(keys)
    close(parallel.x, jnp.stack(one_by_one))
    assert parallel.ok.all()


def test_raw_and_typed_keys_are_the_same():
    for raw, typed in (
        (jax.random.PRNGKey(0), jax.random.key(0)),
        (jax.random.split(jax.random.PRNGKey(0), 2), jax.random.split(jax.random.key(0), 2)),
    ):
        assert (sample_keys(raw, 2) == sample_keys(typed, 2)).all()


@pytest.mark.parametrize("sampler", [SAMPLERS["em"], SAMPLERS["ode"]], ids=["em", "ode"])
def test_a_lost_sample_is_told_and_leaves_the_others(sampler, gaussian):
    score = gaussian(0.3, 0.5).score(SDE)

    @jax.jit
    def run(key, poison):
        return sampler(key, SDE, lambda x, t: score(x, t).at[1].add(poison), (3, 2))

    whole, samples = run(jax.random.key(0), 0.0), run(jax.random.key(0), jnp.nan)
    np.testing.assert_array_equal(whole.ok, [True, True, True])
    np.testing.assert_array_equal(samples.ok, [True, False, True])
    close(samples.x[::2], whole.x[::2])
    assert samples.nfe[1] <= max(60, whole.nfe[1])  # a lost ODE sample gives up soon


def test_ode_that_runs_out_of_steps_does_not_raise(gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    run = jax.jit(lambda key: probability_flow_ode(key, SDE, score, (2, 3), max_steps=2))
    samples = run(jax.random.key(0))
    np.testing.assert_array_equal(samples.ok, [False, False])
    np.testing.assert_array_equal(samples.nfe, [1 + 6 * 2] * 2)
    assert jnp.isfinite(samples.x).all()


def test_a_stiff_neighbour_leaves_the_steps_alone():
    """One program, two neighbours: the first sample takes the same steps to the same bits."""

    @jax.jit
    def run(widths):
        def score(x, t):
            alpha, std = (value[:, None] for value in SDE.marginal(t))
            return -x / ((alpha * widths[:, None]) ** 2 + std**2)

        return probability_flow_ode(jax.random.key(0), SDE, score, (2, 8))

    beside_soft, beside_stiff = run(jnp.array([0.5, 0.5])), run(jnp.array([0.5, 1e-4]))
    assert beside_stiff.nfe[1] > 1.5 * beside_stiff.nfe[0]
    assert beside_stiff.nfe[0] == beside_soft.nfe[0]
    np.testing.assert_array_equal(beside_stiff.x[0], beside_soft.x[0])


def test_ode_error_is_not_diluted_by_air(gaussian):
    """63 elements at rest beside the one that moves change nothing: the norm is the largest."""
    score = gaussian(0.3, 0.5).score(SDE)
    keys = sample_keys(jax.random.key(0), 1)

    def still(x, t):
        # In the other elements the flow stands still: ∇ log p = 2 f / g² = -x.
        return (-x).at[:, 0].set(score(x[:, :1], t)[:, 0])

    beside_air = probability_flow_ode(keys, SDE, still, (1, 64))
    start = SDE.prior(jax.vmap(jax.random.fold_in, (0, None))(keys, 0), (1, 64))
    np.testing.assert_allclose(beside_air.x[0, 1:], start[0, 1:], atol=1e-4)
    _, std = SDE.marginal(1e-3)
    alpha_1, std_1 = SDE.marginal(1.0)
    alpha, _ = SDE.marginal(1e-3)
    spread = jnp.sqrt((alpha**2 * 0.25 + std**2) / (alpha_1**2 * 0.25 + std_1**2))
    expected = alpha * 0.3 + spread * (start[0, 0] - alpha_1 * 0.3)
    assert beside_air.x[0, 0] == pytest.approx(float(expected), abs=3e-5)


def test_ode_can_end_in_the_denoised_image(gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    run = partial(probability_flow_ode, sde=SDE, score=score, shape=(3, 2), end=0.05)
    plain, clean = jax.jit(lambda key: (run(key), run(key, denoise=True)))(jax.random.key(0))
    t = jnp.full(3, 0.05)
    close(clean.x, denoised(SDE, score(plain.x, t), plain.x, t))
    np.testing.assert_array_equal(clean.nfe, plain.nfe + 1)


@pytest.mark.parametrize("sampler", [ddim, dpm_solver, heun, unipc])
def test_every_sampler_can_end_in_the_denoised_image(sampler, gaussian):
    """At noise 0.3. Stochastic ones put in their last noise first: see test_closed_form."""
    sde, score = SDE, gaussian(0.3, 0.5).score(SDE)
    grid = partial(uniform_time, end=float(sde.time(0.3)))
    run = partial(sampler, sde=sde, score=score, shape=(3, 2), steps=20, grid=grid)
    plain, clean = jax.jit(lambda key: (run(key), run(key, denoise=True)))(jax.random.key(0))
    t = jnp.full(3, sde.time(0.3))
    close(clean.x, denoised(sde, score(plain.x, t), plain.x, t))
    np.testing.assert_array_equal(clean.nfe, plain.nfe + 1)


@pytest.mark.parametrize("sampler", [euler_maruyama, dpm_solver, heun])
def test_a_clipped_score_keeps_every_sampler_in_range(sampler, gaussian):
    free = gaussian(0.3, 0.5).score(SDE)
    run = partial(sampler, jax.random.key(0), SDE, shape=(64,), steps=20, denoise=True)
    x = run(clip_denoised(SDE, free, 0.1, 0.4)).x
    assert x.min() > 0.1 - 1e-3 and x.max() < 0.4 + 1e-3
    assert run(free).x.min() < 0 and run(free).x.max() > 0.6


def test_full_eta_is_ancestral_sampling(gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    run = partial(ddim, jax.random.key(0), SDE, score, (8,), steps=5, grid=uniform_chain)
    close(run(eta=1.0).x, ddpm(jax.random.key(0), SDE, score, (8,), steps=5).x)
    assert not np.allclose(run(eta=0.5).x, run(eta=1.0).x, atol=1e-2)


@pytest.mark.parametrize(
    ("sampler", "field"),
    [
        (partial(ddim, eta=1.5), "eta"),
        (partial(ddim, eta=-0.1), "eta"),
        (partial(heun, churn=-1.0), "churn"),
    ],
)
def test_options_out_of_range_are_refused(sampler, field, gaussian):
    with pytest.raises(InputError, match=f"{field}: must be"):
        sampler(jax.random.key(0), SDE, gaussian(0.3, 0.5).score(SDE), (2,))


def test_ddpm_clips_the_denoised_image(gaussian):
    """The last step lands on x_0 itself, hence inside the range."""
    score = gaussian(0.3, 0.5).score(SDE)
    run = partial(ddpm, jax.random.key(0), SDE, score=score, shape=(64,), steps=20)
    free, clipped = run().x, run(score=clip_denoised(SDE, score, -0.2, 0.6)).x
    assert free.min() < -0.3
    assert free.max() > 0.7
    assert clipped.min() == pytest.approx(-0.2)
    assert clipped.max() == pytest.approx(0.6)


def test_corrector_order_is_explicit(gaussian):
    """Correcting after each step but the last leaves nothing to correct in a single step."""
    score = gaussian(0.3, 0.5).score(SDE)
    run = partial(predictor_corrector, jax.random.key(0), SDE, score, (8,), steps=1)
    predictor_alone = euler_maruyama(jax.random.key(0), SDE, score, (8,), steps=1)
    close(run(corrector_first=False).x, predictor_alone.x)
    assert not np.allclose(run(corrector_first=True).x, predictor_alone.x, atol=1e-2)


def test_authors_corrector_step_couples_the_batch(gaussian):
    score = gaussian(0.3, 0.5).score(SDE)
    keys = sample_keys(jax.random.key(0), 4)
    run = partial(predictor_corrector, sde=SDE, score=score, steps=20, batch_mean_step=True)
    batch, alone = run(keys, shape=(4, 3)), run(keys[:1], shape=(1, 3))
    assert not np.allclose(batch.x[0], alone.x[0], atol=1e-3)


@every_chain
@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused(sampler, nfe, steps, gaussian):
    with pytest.raises(InputError, match=f"steps: must be at least 1, got {steps}"):
        sampler(jax.random.key(0), SDE, gaussian(0.3, 0.5).score(SDE), (2,), steps=steps)


@every_sampler
def test_a_score_of_another_shape_is_refused(sampler):
    """It would broadcast, and the samples would be finite."""
    with pytest.raises(InputError, match=r"score: must return the shape of x, \(3, 2\), but .*1\)"):
        sampler(jax.random.key(0), SDE, lambda x, t: -x[:, :1], (3, 2))


@every_chain
def test_a_grid_of_another_length_is_refused(sampler, nfe, gaussian):
    """`nfe` would count evaluations that were not made."""
    run = partial(sampler, jax.random.key(0), SDE, gaussian(0.3, 0.5).score(SDE), (2,), steps=9)
    with pytest.raises(InputError, match=r"grid: must give 10 times for steps=9, gave \(6,\)"):
        run(grid=lambda sde, steps: uniform_time(sde, 5))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"end": 0.0}, "end: must be between 0 and 1, got 0.0"),
        ({"rtol": -1.0}, "rtol, atol: must be at least 0, got -1.0"),
        ({"atol": float("nan")}, "rtol, atol: must be at least 0, got .* and nan"),
    ],
)
def test_ranges_of_the_ode_are_checked(options, sentence, gaussian):
    with pytest.raises(InputError, match=sentence):
        probability_flow_ode(jax.random.key(0), SDE, gaussian(0.3, 0.5).score(SDE), (2,), **options)


@every_sampler
def test_a_wrong_number_of_keys_is_refused(sampler, gaussian):
    with pytest.raises(InputError, match="one for each of the 3 samples"):
        sampler(jax.random.split(jax.random.key(0), 2), SDE, gaussian(0.3, 0.5).score(SDE), (3, 2))
