"""One table of the samplers and of how the options of a recipe set each of them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from sde_ct.config import DiffusionConfig, Experiment, SamplingConfig
from sde_ct.errors import InputError
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
from sde_ct.sde import SDE
from sde_ct.types import Samples


class Sampler(NamedTuple):
    """A row of the table. `options` are the sampling options of a recipe."""

    name: str  # the value of --sampler
    label: str  # in tables and figures
    function: Callable[..., Samples]  # (keys, sde, score, shape, **settings) -> Samples
    settings: Callable[[SamplingConfig, SDE], dict[str, Any]]  # (options, sde) -> settings
    # (options, n) -> the changed fields of options that give at most n network evaluations; None
    # for an adaptive sampler.
    budget: Callable[[SamplingConfig, int], dict[str, Any]] | None
    least: Callable[[SamplingConfig], int] = lambda options: 1  # fewest evaluations possible


def _adaptive(options: SamplingConfig, sde: SDE) -> dict[str, Any]:
    end = {"end": sde.time(options.fast_end), "denoise": True} if options.ode_denoise else {}
    return {"rtol": options.ode_rtol, "atol": options.ode_atol, **end}


def _fast(name: str, label: str, function: Callable[..., Samples], stages: int = 1) -> Sampler:
    """A solver with few steps, at Karras's noise levels, that ends with denoising.

    `stages`: network evaluations in a step. Denoising takes one more at the end.
    """

    def settings(options: SamplingConfig, sde: SDE) -> dict[str, Any]:
        grid = partial(karras, end=sde.time(options.fast_end))  # type: ignore[arg-type]
        return {"steps": (options.fast_evaluations - 1) // stages, "grid": grid, "denoise": True}

    return Sampler(
        name, label, function, settings,
        budget=lambda options, evaluations: {"fast_evaluations": evaluations},
        least=lambda options: stages + 1,
    )  # fmt: skip


TABLE = (
    Sampler(
        "ddpm", "DDPM", ddpm,
        settings=lambda options, sde: {"steps": options.ddpm_steps},
        budget=lambda options, evaluations: {"ddpm_steps": evaluations},
    ),
    Sampler(
        "em", "EM", euler_maruyama,
        settings=lambda options, sde: {"steps": options.em_steps},
        budget=lambda options, evaluations: {"em_steps": evaluations},
    ),
    Sampler(
        "pc", "PC", predictor_corrector,
        settings=lambda options, sde: {
            "steps": options.pc_steps,
            "corrector_steps": options.corrector_steps,
            "snr": options.snr,
            "batch_mean_step": options.batch_mean_step,
        },
        budget=lambda options, n: {"pc_steps": n // (1 + options.corrector_steps)},
        least=lambda options: 1 + options.corrector_steps,
    ),
    Sampler("ode", "ODE", probability_flow_ode, _adaptive, budget=None),
    _fast("ddim", "DDIM", ddim),
    _fast("dpm", "DPM++ ODE", dpm_solver),
    _fast("dpm_sde", "DPM++", partial(dpm_solver, stochastic=True)),
    _fast("heun", "Heun", heun, stages=2),
)  # fmt: skip
SAMPLERS = {sampler.name: sampler for sampler in TABLE}
MEAN = "mean"  # the value of --sampler that returns a method's regression alone, without draws


def find_sampler(name: str) -> Sampler:
    """The sampler with this name. An InputError for an unknown name lists the known ones."""
    if name not in SAMPLERS:
        raise InputError(f"Unknown sampler {name!r}: give one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def sampler_fn(name: str, config: Experiment, sde: SDE) -> Callable[..., Samples]:
    """The sampler (keys, sde, score, shape) -> Samples, with the settings of a recipe."""
    if config.diffusion.times == "listed":
        return _listed_chain(name, config.diffusion)
    sampler = find_sampler(name)
    return partial(sampler.function, **sampler.settings(config.sampling, sde))


def _listed_chain(name: str, diffusion: DiffusionConfig) -> Callable[..., Samples]:
    """DDPM on the few times at which the network was trained."""
    if name != "ddpm":
        raise InputError(
            f"This network was trained at {len(diffusion.listed)} noise levels only: sample it "
            f"with ddpm, not {name!r}."
        )
    times = [(1 + step) / diffusion.steps for step in reversed(diffusion.listed)]
    return partial(
        ddpm, steps=len(times), grid=lambda sde, steps: jnp.array([*times, 0.0], jnp.float32)
    )


def with_evaluations(options: SamplingConfig, name: str, evaluations: int) -> SamplingConfig:
    """Options with which a sampler makes at most `evaluations` network evaluations, or just fewer.

    Raises InputError for a number that is too small, and for the ODE, whose steps are adaptive.
    """
    sampler = find_sampler(name)
    if sampler.budget is None:
        raise InputError(
            f"The {sampler.label}'s evaluations are adaptive: set config.sampling.ode_rtol instead."
        )
    if evaluations < (least := sampler.least(options)):
        raise InputError(f"{evaluations} evaluations are too few: {name} needs {least} or more.")
    return dataclasses.replace(options, **sampler.budget(options, evaluations))
