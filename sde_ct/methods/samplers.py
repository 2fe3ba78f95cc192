"""The samplers of a diffusion network, and how a recipe sets each of them, in one table."""

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
    """A sampler under its name on the command line.

    Attributes:
      name: the value of --sampler.
      label: the name in tables and figures.
      function: sampler(keys, sde, score, shape, **settings) -> Samples.
      settings: (options, sde) -> the keyword arguments of `function` that a recipe's options mean.
      budget: (options, evaluations) -> the fields of the options with which the sampler makes at
        most so many network evaluations; None for an adaptive sampler.
      least: (options) -> the smallest number of evaluations that the sampler can make.
    """

    name: str
    label: str
    function: Callable[..., Samples]
    settings: Callable[[SamplingConfig, SDE], dict[str, Any]]
    budget: Callable[[SamplingConfig, int], dict[str, Any]] | None
    least: Callable[[SamplingConfig], int] = lambda options: 1


def _corrected(options: SamplingConfig) -> dict[str, Any]:
    names = ("corrector_steps", "snr", "batch_mean_step")
    return {"steps": options.pc_steps} | {name: getattr(options, name) for name in names}


def _adaptive(options: SamplingConfig, sde: SDE) -> dict[str, Any]:
    end = {"end": sde.time(options.fast_end), "denoise": True} if options.ode_denoise else {}
    return {"rtol": options.ode_rtol, "atol": options.ode_atol, **end}


def _fast(name: str, label: str, function: Callable[..., Samples], stages: int = 1) -> Sampler:
    """A solver of a few steps at Karras's noise levels, then the denoised image.

    `stages`: network evaluations a step; the denoised image takes one more.
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
        settings=lambda options, sde: _corrected(options),
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


def find_sampler(name: str) -> Sampler:
    """The sampler of that name; InputError lists the names where there is none."""
    if name not in SAMPLERS:
        raise InputError(f"Unknown sampler {name!r}: give one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def sampler_fn(name: str, config: Experiment, sde: SDE) -> Callable[..., Samples]:
    """`sampler(keys, sde, score, shape)` with the settings of a recipe."""
    if config.diffusion.times == "listed":
        return _listed_chain(name, config.diffusion)
    sampler = find_sampler(name)
    return partial(sampler.function, **sampler.settings(config.sampling, sde))


def _listed_chain(name: str, diffusion: DiffusionConfig) -> Callable[..., Samples]:
    """DDPM over the few noise levels that the network was trained at."""
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
    """Change the options so that a sampler makes `evaluations` evaluations, or the next fewer.

    Raises InputError where the number is too small, and for the ODE, whose steps are adaptive.
    """
    sampler = find_sampler(name)
    if sampler.budget is None:
        raise InputError(
            f"The {sampler.label}'s evaluations are adaptive: set config.sampling.ode_rtol instead."
        )
    if evaluations < (least := sampler.least(options)):
        raise InputError(f"{evaluations} evaluations are too few: {name} needs {least} or more.")
    return dataclasses.replace(options, **sampler.budget(options, evaluations))
