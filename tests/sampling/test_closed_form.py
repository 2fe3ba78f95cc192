"""Every sampler on every problem with a closed form, for every SDE, at its default steps."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VESDE, VPSDE
from sde_ct.sampling import (
    ddim,
    ddpm,
    dpm_solver,
    euler_maruyama,
    heun,
    predictor_corrector,
    probability_flow_ode,
    sample_keys,
    uniform_log_snr,
    unipc,
)
from sde_ct.sampling.ddpm import uniform_chain
from sde_ct.sampling.keys import fold

from ..optimised import optimised


def name_of(sampler) -> str:
    """ddim-steps500-eta0.5, for a sampler with options."""
    if not isinstance(sampler, partial):
        return sampler.__name__
    return "-".join([sampler.func.__name__, *(f"{k}{v}" for k, v in sampler.keywords.items())])


every_sde = pytest.mark.parametrize("sde", [VPSDE(), VESDE()], ids=["vp", "ve"])
every_sampler = pytest.mark.parametrize(
    ("sampler", "std_tolerance"),
    [
        (ddpm, 0.02),
        (euler_maruyama, 0.02),
        # The unadjusted Langevin step widens its target, by up to 1.3 % at snr = 0.16.
        (predictor_corrector, 0.05),
        (probability_flow_ode, 0.02),
        (ddim, 0.02),
        (partial(ddim, steps=500, eta=0.5), 0.02),
        (dpm_solver, 0.02),
        (partial(dpm_solver, steps=50, stochastic=True), 0.02),
        (heun, 0.02),
        (unipc, 0.02),
        (partial(heun, steps=50, churn=10.0), 0.02),
    ],
    ids=lambda value: name_of(value) if callable(value) else "",
)


@every_sde
@every_sampler
def test_moments(sampler, std_tolerance, sde, problems):
    """2^15 draws a problem: the Monte-Carlo error is 0.55 % and 0.4 %, inside the tolerance."""
    run = optimised(lambda key: sampler(key, sde, problems.score(sde), (32, 2, 1024)))
    samples = run(jax.random.key(0))
    mean_error = (samples.x.mean((0, 2)) - problems.mean[:, 0]) / problems.std[:, 0]
    std_error = samples.x.std((0, 2)) / problems.std[:, 0] - 1
    assert samples.ok.all()
    np.testing.assert_allclose(mean_error, 0, atol=0.02)
    np.testing.assert_allclose(std_error, 0, atol=std_tolerance)


@every_sde
def test_ode_ends_at_the_closed_form_flow(sde, problems):
    """In one dimension the flow keeps quantiles: F_end(x(end)) = F_1(x(1)).

    Global error: a few local ones of 1e-5 (1 + |x|), through a density of at most 1.
    """
    key, shape = jax.random.key(0), (16, 2, 64)
    start = sde.prior(fold(sample_keys(key, 16), 0), shape)
    x = optimised(lambda key: probability_flow_ode(key, sde, problems.score(sde), shape))(key).x
    expected = problems.cdf(sde, jnp.ones(16), start)
    np.testing.assert_allclose(problems.cdf(sde, jnp.full(16, 1e-3), x), expected, atol=5e-5)


@every_sde
def test_ode_error_follows_its_tolerance(sde, gaussian):
    """A Gaussian moves by a similarity: z = (x - alpha m) / sd stays.

    The tolerance is one step's; over the whole path two of them have gathered at most.
    """
    key, shape = jax.random.key(0), (16, 256)
    data = gaussian(0.3, 0.5)

    @optimised
    def solve(key, tolerance):
        return probability_flow_ode(
            key, sde, data.score(sde), shape, rtol=tolerance, atol=tolerance
        ).x

    start = sde.prior(fold(sample_keys(key, 16), 0), shape)
    _, (mean_1,), (std_1,) = data.at(sde, jnp.ones(16), start)
    _, (mean,), (std,) = data.at(sde, jnp.full(16, 1e-3), start)
    expected = mean + std * (start - mean_1) / std_1
    for tolerance in (1e-3, 1e-4, 1e-5):
        error = jnp.abs(solve(key, tolerance) - expected)
        assert (error < 2 * tolerance * (1 + jnp.abs(expected))).all()


@pytest.mark.parametrize(
    ("sde", "spread"), [(VPSDE(5.0, 20.0), 0.5), (VESDE.from_sigma(25.0), 0.35)]
)
def test_euler_maruyama_has_weak_order_one(sde, spread, gaussian):
    """The bias of the standard deviation halves with the step: slope 1 in log-log.

    Problems whose first-order term is large, 4 % and 2 % at 128 steps, beside the Monte-Carlo
    error of 0.2 %. The higher orders left at 32 steps add 0.03 and 0.15 to the exact slope.
    """
    data = gaussian(0.0, spread)
    steps = np.array([32, 64, 128])
    end = data.at(sde, jnp.full(1, 1e-3), jnp.zeros((1, 1)))[2].item()

    def bias(steps):
        run = optimised(
            lambda key: euler_maruyama(key, sde, data.score(sde), (64, 2048), steps=steps)
        )
        return abs(run(jax.random.key(0)).x.std() / end - 1)

    slope = np.polyfit(np.log(steps), np.log([bias(n) for n in steps]), 1)[0]
    assert -1.3 < slope < -0.85


ORDERS = [  # the solver, its order, and numbers of steps that are enough to see it
    (ddim, 1, (32, 64, 128)),
    (dpm_solver, 2, (32, 64, 128)),
    (heun, 2, (32, 64, 128)),
    (unipc, 2, (256, 512)),  # its error falls 4 to 30 times from 32 to 64 steps and then hardly
]


@every_sde
@pytest.mark.parametrize(("sampler", "order", "steps"), ORDERS)
def test_order_of_the_deterministic_solvers(sampler, order, steps, sde, gaussian):
    """The error at the end of a Gaussian's flow falls as steps^-order.

    z = (x - alpha m) / sd stays along the flow. The grid is uniform in log SNR down to a noise
    level at which the errors are well above the rounding of float64.
    """
    with jax.enable_x64(True):
        slope = slope_of_errors(sampler, steps, sde, gaussian(0.3, 1.5))
    assert -slope == pytest.approx(order, abs=0.25)


def slope_of_errors(sampler, steps, sde, data):
    key, shape, end = jax.random.key(0), (4, 256), float(sde.time(0.05))
    grid = partial(uniform_log_snr, end=end)
    start = sde.prior(fold(sample_keys(key, 4), 0), shape)
    _, (mean_1,), (std_1,) = data.at(sde, jnp.ones(4), start)
    _, (mean,), (std,) = data.at(sde, jnp.full(4, end), start)
    expected = mean + std * (start - mean_1) / std_1

    def error(steps):
        run = partial(sampler, sde=sde, score=data.score(sde), shape=shape, steps=steps, grid=grid)
        return jnp.abs(optimised(run)(key).x - expected).max()

    return np.polyfit(np.log(steps), np.log([error(n) for n in steps]), 1)[0]


@every_sde
def test_ddpm_takes_the_exact_affine_steps(sde, gaussian):
    """Linear score: the moments after a few steps follow from the posterior's formulae.

    Written with conditional Gaussians, not the sampler's ratios; five steps, so that any wrong
    coefficient shows. 2^17 draws: error 0.3 %, 0.2 %.
    """
    mean, spread, steps = 0.3, 0.5, 5
    data = gaussian(mean, spread)
    run = optimised(lambda key: ddpm(key, sde, data.score(sde), (64, 2048), steps=steps))
    x = run(jax.random.key(0)).x

    times = np.linspace(1, 0, steps + 1)
    m, v = 0.0, float(sde.marginal(1.0)[1]) ** 2
    for t, s in itertools.pairwise(times):
        (alpha_t, std_t), (alpha_s, std_s) = (
            np.float64(sde.marginal(t)),
            np.float64(sde.marginal(s)),
        )
        gain = alpha_t * spread**2 / (alpha_t**2 * spread**2 + std_t**2)
        link = alpha_t / alpha_s * std_s**2  # Cov(x_s, x_t | x_0)
        # x_s | x_t, x_0 ~ N(alpha_s x_0 + link / std_t² (x_t - alpha_t x_0), std_s² - link²/std_t²)
        from_clean = alpha_s - link / std_t**2 * alpha_t
        slope = link / std_t**2 + from_clean * gain
        m = slope * m + from_clean * (mean - gain * alpha_t * mean)
        v = slope**2 * v + (std_s**2 - link**2 / std_t**2 if s > 0 else 0)
    assert abs(x.mean() - m) < 0.015 * np.sqrt(v)
    assert x.std() == pytest.approx(np.sqrt(v), rel=0.01)


def test_authors_corrector_step(problems):
    """In 2048 dimensions the norms of the batch give the step that std(t) gives."""
    sde = VESDE.from_sigma(25.0)
    run = optimised(
        lambda key: predictor_corrector(
            key, sde, problems.score(sde), (16, 2, 1024), steps=300, batch_mean_step=True
        )
    )
    x = run(jax.random.key(0)).x
    np.testing.assert_allclose(x.std((0, 2)) / problems.std[:, 0], 1, atol=0.05)


@every_sde
@pytest.mark.parametrize("sampler", [partial(dpm_solver, stochastic=True), partial(ddim, eta=1.0)])
def test_noise_that_is_taken_out_again_is_put_in(sampler, sde, gaussian):
    """Denoising at the end of a chain whose last step had put in none would narrow the draws.

    E[x(0) | x(end)] of exact draws has the standard deviation w / √(w² + r²) w, w the data's and r
    the noise level at the end. 200 steps are within 1 %, 2^16 draws within .3 %.
    """
    width, level = 0.05, 0.1
    data = gaussian(0.0, width)
    grid = partial(uniform_log_snr, end=float(sde.time(level)))
    run = optimised(
        lambda key: sampler(
            key, sde, data.score(sde), (32, 2048), steps=200, grid=grid, denoise=True
        )
    )
    expected = width**2 / np.hypot(width, level)
    assert run(jax.random.key(0)).x.std() == pytest.approx(expected, rel=0.03)


@every_sde
def test_churn_is_put_in_where_it_is_asked_for(sde):
    """A flow that stands still, x_0 = x / alpha everywhere: churn alone moves y = x / alpha."""
    key, shape, middle = jax.random.key(0), (8, 4096), float(sde.time(2.0))
    end = float(sde.time(1.5))

    def ended(**options):
        def grid(sde, steps):
            return jnp.array([1.0, middle, end])

        def score(x, t):
            return jnp.zeros_like(x)

        draw = optimised(lambda: heun(key, sde, score, shape, steps=2, grid=grid, **options).x)
        return draw() / float(sde.marginal(end)[0])

    still = ended()
    # Outside its range only float32 rounds, levels through times and back, for y of up to 200.
    np.testing.assert_allclose(ended(churn=0.8, churn_range=(2.1, 2.2)), still, atol=0.1)
    # r^ = (1 + 0.8 / 2) r from r = 2: √(r^² - r²) is put in. 2^15 numbers are within 0.4 %.
    for factor in (1.0, 2.0):
        added = ended(churn=0.8, churn_range=(1.9, 2.1), churn_noise=factor) - still
        assert float(added.std()) == pytest.approx(factor * 2 * np.sqrt(1.4**2 - 1), rel=0.02)


def test_few_steps_go_further_on_the_log_snr_grid(gaussian):
    """DDPM's variance is too small, by 2.6 % on this grid, 6.6 % on the other (exact)."""
    sde, data = VESDE.from_sigma(25.0), gaussian(0.1, 0.5)

    def shortfall(grid):
        run = optimised(
            lambda key: ddpm(key, sde, data.score(sde), (64, 1024), steps=100, grid=grid)
        )
        return 1 - run(jax.random.key(0)).x.std() / 0.5

    assert shortfall(uniform_log_snr) == pytest.approx(0.026, abs=0.008)
    assert shortfall(uniform_chain) == pytest.approx(0.066, abs=0.008)
