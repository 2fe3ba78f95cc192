"""Conditional diffusion: the paper's DDPM and score model, and the preconditioned form of both."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import DiffusionConfig, Experiment
from sde_ct.methods import precondition
from sde_ct.methods.samplers import sampler_fn
from sde_ct.methods.step import supervised
from sde_ct.models import UNet
from sde_ct.sde import SDE, clip_denoised, expand
from sde_ct.types import Batch, Method, Samples, ScoreFn


def form_of(config: Experiment) -> precondition.Form:
    """The network's form named by the configuration."""
    if config.diffusion.form == "epsilon":
        return precondition.epsilon(config.diffusion.steps)
    if config.diffusion.form == "score":
        return precondition.score()
    return precondition.edm(config.data.ct_mean, config.data.ct_std)


def sample_time(key: Array, sde: SDE, config: DiffusionConfig) -> Float[Array, ""]:
    """One training time in (0, 1].

    uniform: U(time_min, 1). discrete: (n + 1)/steps, n = 0, 1, ... listed: the same for
    a few n (Fast-DDPM, arXiv 2405.14802). lognormal: σ/α = exp(N(log_mean, log_std²))
    (Karras et al. 2022, table 1), brought back to a time and kept within [time_min, 1].
    """
    if config.times == "uniform":
        return jax.random.uniform(key, minval=config.time_min, maxval=1.0)
    if config.times == "listed":
        step = jax.random.choice(key, jnp.asarray(config.listed))
        return (1.0 + step) / config.steps
    if config.times == "discrete":
        return (1.0 + jax.random.randint(key, (), 0, config.steps)) / config.steps
    ratio = jnp.exp(config.log_mean + config.log_std * jax.random.normal(key))
    return jnp.clip(sde.time(ratio), config.time_min, 1.0)


def _apply(network: UNet, params, form, x, mr, t, alpha, std) -> Float[Array, "b h w 1"]:
    inputs = jnp.concatenate([form.inputs(x, alpha, std), mr], axis=-1)
    label = form.label(t, alpha.reshape(t.shape), std.reshape(t.shape))
    return network.apply(params, inputs, label)  # type: ignore[return-value]


def score_fn(
    params, mr: Float[Array, "b h w k"], *, sde: SDE, network: UNet, form: precondition.Form
) -> ScoreFn:
    """The score ∇ log p_t(ct | mr), the MR joined to the input as channels."""

    def score(x: Float[Array, "b h w 1"], t: Float[Array, " b"]) -> Float[Array, "b h w 1"]:
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        output = _apply(network, params, form, x, mr, t, alpha, std)
        return form.score(x, output, alpha, std)

    return score


def diffusion(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    sampler: str = "ddpm",
) -> Method:
    """Denoising score matching: mean valid·|F - F*|² over noise levels, pixels and the batch.

    The mean is over all pixels, so that a step does not depend on how the batch is spread over
    devices.

    Raises InputError where the network cannot be drawn with `sampler`.
    """
    form, run = form_of(config), sampler_fn(sampler, config, sde)

    def initialise(key, batch: Batch):
        x = jnp.concatenate([batch.ct, batch.mr], axis=-1)
        return network.init(key, x[:1], jnp.ones((1,)))

    def loss(params, keys, batch: Batch):
        def noise(key):
            for_time, for_noise = jax.random.split(key)
            time = sample_time(for_time, sde, config.diffusion)
            return time, jax.random.normal(for_noise, batch.ct.shape[1:])

        t, z = jax.vmap(noise)(keys)
        alpha, std = (expand(value, z) for value in sde.marginal(t))
        x = precondition.noisy(batch.ct, z, alpha, std)
        output = _apply(network, params, form, x, batch.mr, t, alpha, std)
        return jnp.mean(batch.valid * (output - form.target(batch.ct, z, alpha, std)) ** 2)

    def draw(params, keys, mr) -> Samples:
        score = score_fn(params, mr, sde=sde, network=network, form=form)
        if config.sampling.clip_denoised:
            score = clip_denoised(sde, score, config.data.lowest, 1.0)
        return run(keys, sde, score, (*mr.shape[:-1], 1))

    return supervised(initialise, loss, config.training, axis_name, draw=draw, is_random=True)
