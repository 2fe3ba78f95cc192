"""The table of the samplers, and how the options of a recipe set each of them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from sde_ct.config import DiffusionConfig, Experiment, SamplingConfig
from sde_ct.errors import InputError
from sde_ct.sampling import (
    chosen_for_few,
    ddim,
    ddpm,
    dpm_solver,
    euler_maruyama,
    heun,
    karras,
    predictor_corrector,
    probability_flow_ode,
    uniform_log_snr,
    unipc,
)
from sde_ct.sampling.time_grid import Grid
from sde_ct.sde import SDE
from sde_ct.types import Samples


class Sampler(NamedTuple):
    """A row of the table. `options` are the sampling options of a recipe."""

    name: str  # the value of --sampler, which `config.SAMPLER_NAMES` lists too
    label: str  # in tables and figures
    function: Callable[..., Samples]  # (keys, sde, score, shape, **settings) -> Samples
    settings: Callable[[SamplingConfig, "Levels"], dict[str, Any]]  # (options, levels) -> settings
    # (options, n) -> the changed fields of options that give at most n network evaluations; None
    # for an adaptive sampler.
    budget: Callable[[SamplingConfig, int], dict[str, Any]] | None
    # The fewest evaluations with which the sampler is stable, though its draws may be too narrow.
    least: Callable[[SamplingConfig, SDE], int] = lambda options, sde: 1
    stages: Callable[[SamplingConfig], int] = lambda options: 1  # network evaluations of a step


# A noise level that hides data of unit scale, see `uniform_log_snr`. A region of n voxels that
# share an outcome is hidden by √n times as much, and n is larger in a volume than in a slice.
HIDDEN, HIDDEN_VOLUME = 40.0, 400.0


class Levels(NamedTuple):
    """The noise levels of fast solvers and of the ODE; none is below the lowest trained level."""

    end: Any  # the time at which they denoise and end
    grid: Grid
    few: Grid  # for UniPC


def _levels(config: Experiment, sde: SDE, data_std: float) -> Levels:
    """The levels that a recipe names."""
    options, diffusion = config.sampling, config.diffusion
    trained = 1 / diffusion.steps if diffusion.times == "discrete" else diffusion.time_min

    def time(level: float) -> Any:
        return jnp.maximum(sde.time(level), trained)

    end = time(options.fast_end * data_std)
    hidden = HIDDEN_VOLUME if config.data.slab > 1 else HIDDEN
    grid: Grid = partial(uniform_log_snr, end=end, hidden=hidden * data_std)
    wide = options.few_width * data_std
    few = partial(chosen_for_few, otherwise=grid, data_std=wide, least=trained)
    if options.fast_grid == "karras":
        end = time(options.fast_end)
        grid = partial(karras, end=end)
    return Levels(end, grid, few)


def _adaptive(options: SamplingConfig, levels: Levels) -> dict[str, Any]:
    ending = {"end": levels.end, "denoise": True} if options.ode_denoise else {}
    return {"rtol": options.ode_rtol, "atol": options.ode_atol, **ending}


def _stable(options: SamplingConfig, sde: SDE) -> int:
    """The least number of equal steps with which Euler-Maruyama is stable.

    A step multiplies the remaining noise by about 1 - g² dt / std², whose magnitude must not exceed
    1. The ratio g² / std² is largest at one of the ends, t = dt and t = 1.
    """
    steps = np.arange(1, 10_001)
    t = np.stack([1 / steps, np.ones(len(steps))])
    taken = np.square(sde.diffusion(t) / sde.marginal(t)[1]) / steps
    return int(steps[(taken <= 2).all(0)].min(initial=len(steps)))


def _fast(
    name: str,
    label: str,
    function: Callable[..., Samples],
    *,
    stages: int = 1,
    least: int | None = None,
    grid: str = "grid",
) -> Sampler:
    """A solver with few steps that ends with denoising.

    Args:
      stages: network evaluations in a step. Denoising takes one more at the end.
      least: the fewest evaluations with which the solver is stable: it draws Gaussian data that are
        0.1 to 2 times as wide as the recipe's data with at most twice their standard deviation, for
        `VPSDE()` and `VESDE()`. None stands for one step and the denoising.
      grid: the field of `Levels` that holds the solver's grid.
    """

    def settings(options: SamplingConfig, levels: Levels) -> dict[str, Any]:
        steps = (options.fast_evaluations - 1) // stages
        return {"steps": steps, "grid": getattr(levels, grid), "denoise": True}

    return Sampler(
        name, label, function, settings,
        budget=lambda options, evaluations: {"fast_evaluations": evaluations},
        least=lambda options, sde: least or stages + 1,
        stages=lambda options: stages,
    )  # fmt: skip


def _corrected(options: SamplingConfig) -> int:
    """The network evaluations of a step of PC, with its corrections."""
    return 1 + options.corrector_steps


TABLE = (
    Sampler(
        "ddpm", "DDPM", ddpm,
        settings=lambda options, levels: {"steps": options.ddpm_steps},
        budget=lambda options, evaluations: {"ddpm_steps": evaluations},
    ),
    Sampler(
        "em", "EM", euler_maruyama,
        settings=lambda options, levels: {"steps": options.em_steps},
        budget=lambda options, evaluations: {"em_steps": evaluations},
        least=_stable,
    ),
    Sampler(
        "pc", "PC", predictor_corrector,
        settings=lambda options, levels: {
            "steps": options.pc_steps,
            "corrector_steps": options.corrector_steps,
            "snr": options.snr,
            "batch_mean_step": options.batch_mean_step,
        },
        budget=lambda options, n: {"pc_steps": n // _corrected(options)},
        least=lambda options, sde: _corrected(options) * _stable(options, sde),
        stages=_corrected,
    ),
    Sampler("ode", "ODE", probability_flow_ode, _adaptive, budget=None),
    _fast("ddim", "DDIM", ddim),
    _fast("dpm", "DPM++ ODE", dpm_solver),
    _fast("dpm_sde", "DPM++", partial(dpm_solver, stochastic=True)),
    _fast("unipc", "UniPC", unipc, grid="few"),
    # With fewer evaluations each step spans a wide range of noise levels, and its second stage
    # multiplies the error of the first. With 11, data twice as wide are drawn 2.3 times too wide.
    _fast("heun", "Heun", heun, stages=2, least=13),
)  # fmt: skip
SAMPLERS = {sampler.name: sampler for sampler in TABLE}
MOST = 100_000  # evaluations; the paper's longest chain makes 11,000
FEW = 4  # evaluations of `few_steps`
MEAN = "mean"  # the value of --sampler that returns a method's regression alone, without draws


def find_sampler(name: str) -> Sampler:
    """The sampler with this name. An InputError for an unknown name lists the known ones."""
    if name not in SAMPLERS:
        raise InputError(f"Unknown sampler {name!r}: give one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def sampler_fn(
    name: str, config: Experiment, sde: SDE, data_std: float = 1.0
) -> Callable[..., Samples]:
    """The sampler (keys, sde, score, shape) -> Samples, with the settings of a recipe.

    `data_std`: the standard deviation of the data that the network was trained on.
    """
    if config.diffusion.times == "listed":
        return _listed_chain(name, config.diffusion)
    settings = find_sampler(name).settings(config.sampling, _levels(config, sde, data_std))
    return partial(find_sampler(name).function, **settings)


def few_steps(config: Experiment, sde: SDE) -> Callable[..., Samples]:
    """UniPC with `FEW` evaluations, or DDPM at the listed times if training had only these."""
    if config.diffusion.times == "listed":
        return sampler_fn("ddpm", config, sde)
    options = with_evaluations(config.sampling, "unipc", FEW, sde)
    return sampler_fn("unipc", dataclasses.replace(config, sampling=options), sde)


def require_steps(name: str, config: Experiment, sde: SDE) -> None:
    """Raise InputError if a recipe has fewer steps than this sampler needs."""
    sampler, options = find_sampler(name), config.sampling
    if config.diffusion.times == "listed" or sampler.budget is None:
        return
    for field, least in sampler.budget(options, sampler.least(options, sde)).items():
        if (given := getattr(options, field)) < least:
            raise InputError(
                f"config.sampling.{field}={given} is too few for {name}: train with {least} or "
                f"more, or give --evaluations={sampler.least(options, sde)} or more."
            )


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


def with_evaluations(
    options: SamplingConfig, name: str, evaluations: int, sde: SDE
) -> SamplingConfig:
    """Options with which a sampler makes `evaluations` network evaluations, or just fewer.

    Raises InputError for a number that is impossible, and for the ODE, whose steps are adaptive.
    """
    sampler = find_sampler(name)
    if sampler.budget is None:
        raise InputError(
            f"The {sampler.label}'s evaluations are adaptive: set config.sampling.ode_rtol instead."
        )
    if evaluations < (least := sampler.least(options, sde)):
        raise InputError(f"{evaluations} evaluations are too few: {name} needs {least} or more.")
    if evaluations > MOST:
        raise InputError(f"{evaluations} evaluations are too many: give {MOST} or fewer.")
    return dataclasses.replace(options, **sampler.budget(options, evaluations))
