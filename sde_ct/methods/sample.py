"""From a trained network to CT slices: one function for every method and sampler."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from sde_ct.config import DataConfig, DiffusionConfig, Experiment, SamplingConfig
from sde_ct.errors import InputError
from sde_ct.methods.build import build_network, build_sde
from sde_ct.methods.diffusion import form_of, score_fn
from sde_ct.methods.regression import predict
from sde_ct.sampling import (
    ddim,
    ddpm,
    dpm_solver,
    euler_maruyama,
    heun,
    karras,
    predictor_corrector,
    probability_flow_ode,
)
from sde_ct.sde import SDE, clip_denoised
from sde_ct.types import Samples

SAMPLERS = ("ddpm", "em", "pc", "ode", "ddim", "dpm", "dpm_sde", "heun")

# (params, keys [b], mr [b h w k]) -> Samples of CT in model units, [b h w 1]
Draw = Callable[[dict, Array, Float[Array, "b h w k"]], Samples]


def sampler_fn(name: str, config: Experiment, sde: SDE) -> Callable[..., Samples]:
    """`sampler(keys, sde, score, shape)` with the settings of a recipe."""
    options = config.sampling
    if config.diffusion.times == "listed":
        return _listed_chain(name, config.diffusion)
    if name == "ddpm":
        return partial(ddpm, steps=options.ddpm_steps)
    if name == "em":
        return partial(euler_maruyama, steps=options.em_steps)
    if name == "pc":
        return partial(
            predictor_corrector,
            steps=options.pc_steps,
            corrector_steps=options.corrector_steps,
            snr=options.snr,
            batch_mean_step=options.batch_mean_step,
        )
    if name not in SAMPLERS:
        raise InputError(f"Unknown sampler {name!r}: give one of {', '.join(SAMPLERS)}.")
    end = sde.time(options.fast_end)
    if name == "ode":
        ending: dict[str, Any] = {"end": end, "denoise": True} if options.ode_denoise else {}
        return partial(probability_flow_ode, rtol=options.ode_rtol, atol=options.ode_atol, **ending)
    steps = options.fast_evaluations - 1
    fast: dict[str, Any] = {"grid": partial(karras, end=end), "denoise": True}  # type: ignore[arg-type]
    if name == "heun":
        return partial(heun, steps=steps // 2, **fast)
    solver = ddim if name == "ddim" else partial(dpm_solver, stochastic=name == "dpm_sde")
    return partial(solver, steps=steps, **fast)


def _listed_chain(name: str, diffusion: DiffusionConfig) -> Callable[..., Samples]:
    """DDPM over the few steps that the network was trained at; it knows no other."""
    if name != "ddpm":
        raise InputError(
            f"This network knows {len(diffusion.listed)} noise levels only: sample it with ddpm, "
            f"not {name!r}."
        )
    times = [(1 + step) / diffusion.steps for step in reversed(diffusion.listed)]
    return partial(
        ddpm, steps=len(times), grid=lambda sde, steps: jnp.array([*times, 0.0], jnp.float32)
    )


def with_evaluations(options: SamplingConfig, sampler: str, evaluations: int) -> SamplingConfig:
    """The settings with which a sampler takes `evaluations` of the network, or just fewer.

    Raises InputError where it can't: too few, or the ODE, whose steps are adaptive.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"Unknown sampler {sampler!r}: give one of {', '.join(SAMPLERS)}.")
    if sampler == "ode":
        raise InputError("The ODE's evaluations are adaptive: set config.sampling.ode_rtol.")
    least = {"pc": 1 + options.corrector_steps, "heun": 3, "ddpm": 1, "em": 1}.get(sampler, 2)
    if evaluations < least:
        raise InputError(f"{evaluations} evaluations: {sampler} needs {least} or more.")
    steps = evaluations // least if sampler == "pc" else evaluations
    field = f"{sampler}_steps" if sampler in ("ddpm", "em", "pc") else "fast_evaluations"
    change: dict[str, Any] = {field: steps}
    return dataclasses.replace(options, **change)


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
    sde, form = build_sde(config), form_of(config)
    run = sampler_fn(sampler, config, sde)

    def draw(params, keys, mr):
        score = score_fn(params, mr, sde=sde, network=network, form=form)
        if config.sampling.clip_denoised:
            score = clip_denoised(sde, score, lowest(config.data), 1.0)
        return run(keys, sde, score, (*mr.shape[:-1], 1))

    return draw


def lowest(data: DataConfig) -> float:
    """The least value of a CT or MR in model units; the greatest is 1."""
    return 0.0 if data.intensity == "slice_minmax" else -1.0


def slice_keys(seed: int, case: int, slices: ArrayLike, draws: ArrayLike) -> Array:
    """One key a sample, from (seed, case, slice, draw) alone."""
    base = jax.random.fold_in(jax.random.key(seed), case)

    def fold(z, draw):
        return jax.random.fold_in(jax.random.fold_in(base, z), draw)

    return jax.vmap(fold)(slices, draws)
