"""From a trained network to CT slices: one function for every method and sampler."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import Experiment
from sde_ct.errors import InputError
from sde_ct.methods.build import build_network, build_sde
from sde_ct.methods.diffusion import form_of, score_fn
from sde_ct.methods.regression import predict
from sde_ct.sampling import ddpm, euler_maruyama, predictor_corrector, probability_flow_ode
from sde_ct.types import Samples

SAMPLERS = ("ddpm", "em", "pc", "ode")

# (params, keys [b], mr [b h w k]) -> Samples of CT in model units, [b h w 1]
Draw = Callable[[dict, Array, Float[Array, "b h w k"]], Samples]


def _sampler(name: str, config: Experiment) -> Callable:
    options = config.sampling
    if name == "ddpm":
        lowest = 0.0 if config.data.intensity == "slice_minmax" else -1.0
        limits = (lowest, 1.0) if options.clip_denoised else None
        return lambda *a: ddpm(*a, steps=options.ddpm_steps, denoised_range=limits)
    if name == "em":
        return lambda *a: euler_maruyama(*a, steps=options.em_steps)
    if name == "pc":
        return lambda *a: predictor_corrector(
            *a,
            steps=options.pc_steps,
            corrector_steps=options.corrector_steps,
            snr=options.snr,
            batch_mean_step=options.batch_mean_step,
        )
    if name == "ode":
        return lambda *a: probability_flow_ode(*a, rtol=options.ode_rtol, atol=options.ode_atol)
    raise InputError(f"Unknown sampler {name!r}: give one of {', '.join(SAMPLERS)}.")


def draw_fn(config: Experiment, sampler: str | None) -> Draw:
    """One synthetic CT for each key and MR slice.

    `sampler`: one of SAMPLERS for a diffusion network; None for a CNN or GAN, which know no
    randomness and answer in one evaluation.
    """
    network = build_network(config)
    if config.method != "diffusion":
        if sampler is not None:
            raise InputError(
                f"A {config.method} gives one CT and has no sampler: leave out sampler={sampler!r}."
            )

        def regress(params, keys, mr):
            x = predict(params, mr, network=network, data=config.data)
            ok = jnp.isfinite(x).all(axis=(1, 2, 3))
            return Samples(x, jnp.ones(x.shape[0], jnp.int32), ok)

        return regress

    if sampler is None:
        raise InputError(f"A diffusion network needs a sampler: one of {', '.join(SAMPLERS)}.")
    sde, form, run = (
        build_sde(config),
        form_of(config),
        _sampler(sampler, config),
    )

    def draw(params, keys, mr):
        score = score_fn(params, mr, sde=sde, network=network, form=form)
        return run(keys, sde, score, (*mr.shape[:-1], 1))

    return draw


def slice_keys(seed: int, case: int, slices: Array, draws: Array) -> Array:
    """One key a sample, from (seed, case, slice, draw) alone."""
    base = jax.random.fold_in(jax.random.key(seed), case)

    def fold(z, draw):
        return jax.random.fold_in(jax.random.fold_in(base, z), draw)

    return jax.vmap(fold)(slices, draws)
