"""Conditional diffusion: the paper's DDPM, its score model, and the preconditioned form of EDM.

Noised data are x = α x₀ + σ z. For a network F, a `Form` defines the input, the noise label, the
target F*, and how a score follows from the output. The loss is mean |F - F*|² in every form.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import DiffusionConfig, Experiment
from sde_ct.methods.samplers import sampler_fn
from sde_ct.methods.slices import by_slices, evaluator
from sde_ct.methods.step import supervised
from sde_ct.models import UNet
from sde_ct.sampling.along_z import correlated_along_z, correlated_noise
from sde_ct.sde import SDE, clip_denoised, expand
from sde_ct.types import Batch, Method, Samples, ScoreFn


class Form(NamedTuple):
    """Functions of images [b h w 1]; α and σ broadcast against them, but in `label` against t."""

    inputs: Callable  # (x, α, σ) -> network input
    label: Callable  # (t, α, σ) -> noise label, with the shape of t
    target: Callable  # (x₀, z, α, σ) -> F*
    score: Callable  # (x, F, α, σ) -> ∇ log p_t(x)


def edm_form(data_mean: float, sigma_data: float) -> Form:
    """Input and target of unit variance at every noise level (Karras et al. 2022, §5).

    Their form is for x = x₀ + σ z and data of mean 0. For data of mean μ and standard
    deviation σ_d, let y = x - αμ, with the variance v = α²σ_d² + σ². The same requirements then
    give c_in = 1/√v, c_skip = ασ_d²/v and c_out = σσ_d/√v, hence
        F* = (x₀ - μ - c_skip y)/c_out = (σ (x₀ - μ) - ασ_d² z)/(σ_d √v)
        score = (α D - x)/σ² = -y/v + ασ_d F/(σ √v),   D = μ + c_skip y + c_out F.
    """

    def root(alpha, std):
        return jnp.sqrt(alpha**2 * sigma_data**2 + std**2)

    return Form(
        inputs=lambda x, alpha, std: (x - alpha * data_mean) / root(alpha, std),
        label=lambda t, alpha, std: jnp.log(std / alpha) / 4,
        target=lambda x0, z, alpha, std: (
            (std * (x0 - data_mean) - alpha * sigma_data**2 * z) / (sigma_data * root(alpha, std))
        ),
        score=lambda x, f, alpha, std: (
            (alpha * data_mean - x) / root(alpha, std) ** 2
            + alpha * sigma_data * f / (std * root(alpha, std))
        ),
    )


def epsilon_form(steps: int) -> Form:
    """The paper's DDPM (Ho et al. 2020): F predicts the noise; t = (n + 1)/steps is labelled n."""
    return Form(
        inputs=lambda x, alpha, std: x,
        label=lambda t, alpha, std: t * steps - 1,
        target=lambda x0, z, alpha, std: z,
        score=lambda x, f, alpha, std: -f / std,
    )


def score_form() -> Form:
    """The score model of Lyu and Wang, after Song et al. 2021: F / σ(t) is the score.

    With the weight σ², the denoising score-matching loss is |F + z|².
    """
    return Form(
        inputs=lambda x, alpha, std: x,
        label=lambda t, alpha, std: t,
        target=lambda x0, z, alpha, std: -z,
        score=lambda x, f, alpha, std: f / std,
    )


def form_of(config: DiffusionConfig, data_mean: float, sigma_data: float) -> Form:
    """The form that the configuration names, for data with this mean and standard deviation."""
    if config.form == "epsilon":
        return epsilon_form(config.steps)
    if config.form == "score":
        return score_form()
    return edm_form(data_mean, sigma_data)


def sample_time(key: Array, sde: SDE, config: DiffusionConfig) -> Float[Array, ""]:
    """One training time in (0, 1], by `config.times`.

    uniform: U(time_min, 1). discrete: (n + 1)/steps for n = 0, 1, ... listed: the same for a few n
    (Fast-DDPM, arXiv 2405.14802). lognormal: σ/α = exp(N(log_mean, log_std²)) (Karras et al. 2022,
    table 1), converted to a time and clipped to [time_min, 1].
    """
    if config.times == "uniform":
        return jax.random.uniform(key, minval=config.time_min, maxval=1.0)
    if config.times == "listed":
        return (1.0 + jax.random.choice(key, jnp.asarray(config.listed))) / config.steps
    if config.times == "discrete":
        return (1.0 + jax.random.randint(key, (), 0, config.steps)) / config.steps
    ratio = jnp.exp(config.log_mean + config.log_std * jax.random.normal(key))
    return jnp.clip(sde.time(ratio), config.time_min, 1.0)


class Noised(NamedTuple):
    """What the network sees of noised images, and what it has to predict."""

    inputs: Float[Array, "b h w c"]
    label: Float[Array, " b"]
    target: Float[Array, "b h w 1"]


def noised(
    keys,
    ct: Float[Array, "b h w 1"],
    mr: Float[Array, "b h w k"],
    *,
    sde: SDE,
    form: Form,
    config: DiffusionConfig,
    along_z: Float[Array, "n f s s"] | None = None,
) -> Noised:
    """The images of each example at a random time, with the MR as further channels.

    An example is an image, or a slab of s images with noise of the covariance factor `along_z`.
    """
    shape = (len(ct) // len(keys), *ct.shape[1:])

    def noise(key, factor):
        for_time, for_noise = jax.random.split(key)
        time = jnp.full(shape[0], sample_time(for_time, sde, config))
        return time, correlated_noise(for_noise[None], factor, shape)[0]

    times, z = jax.vmap(noise)(keys, along_z)
    t, z = times.ravel(), z.reshape(ct.shape)
    alpha, std = (expand(value, z) for value in sde.marginal(t))
    shown = shown_to_network(form, t, alpha, std, alpha * ct + std * z, mr)
    return Noised(*shown, form.target(ct, z, alpha, std))


def shown_to_network(form: Form, t, alpha, std, x, *seen: Array) -> tuple[Array, Array]:
    """The input channels and the noise label of the network; `seen` are the channels beside x."""
    inputs = jnp.concatenate([form.inputs(x, alpha, std), *seen], axis=-1)
    return inputs, form.label(t, alpha.reshape(t.shape), std.reshape(t.shape))


def score_fn(
    params, *seen: Float[Array, "n z h w _"], sde: SDE, network: UNet, form: Form
) -> ScoreFn:
    """The score ∇ log p_t(ct | seen) of each slice.

    The network gets the MR, and what else is `seen`, as further channels.
    """

    def score(x: Float[Array, "n z h w 1"], t: Float[Array, " n"]) -> Float[Array, "n z h w 1"]:
        def of_slices(x: Float[Array, "b h w 1"], t, *seen: Float[Array, "b h w _"]):
            t = t.ravel()
            alpha, std = (expand(value, x) for value in sde.marginal(t))
            output = evaluator(network)(params, *shown_to_network(form, t, alpha, std, x, *seen))
            return form.score(x, output, alpha, std)

        return by_slices(of_slices, x, jnp.broadcast_to(t[:, None], x.shape[:2]), *seen)

    return score


def diffusion(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    sampler: str = "ddpm",
) -> Method:
    """Denoising score matching: the mean of valid·|F - F*|² over noise levels and all pixels.

    Pixels with valid = 0 count in the denominator, so that a step does not depend on how the batch
    is divided over devices. Raises InputError where the network cannot be sampled with `sampler`.
    """
    form = form_of(config.diffusion, config.data.ct_mean, config.data.ct_std)
    run = sampler_fn(sampler, config, sde, data_std=config.data.ct_std)

    def initialise(key, batch: Batch):
        x = jnp.concatenate([batch.ct, batch.mr], axis=-1)
        return network.forward.init(key, x[:1], jnp.ones((1,)))

    def loss(params, keys, batch: Batch):
        inputs, label, target = noised(
            keys, batch.ct, batch.mr, sde=sde, form=form, config=config.diffusion
        )
        output = network.apply(params, inputs, label)
        return jnp.mean(batch.valid * (output - target) ** 2)  # type: ignore[operator]

    def draw(params, keys, mr: Float[Array, "n z h w k"], along_z=None) -> Samples:
        score = score_fn(params, mr, sde=sde, network=network, form=form)
        if config.sampling.clip_denoised:
            score = clip_denoised(sde, score, config.data.lowest, 1.0)
        sample = run if along_z is None else correlated_along_z(run, along_z)
        return sample(keys, sde, score, (*mr.shape[:-1], 1))

    return supervised(initialise, loss, config.training, axis_name, draw=draw, is_random=True)
