"""The typed configuration of an experiment: what a recipe in `configs/` returns.

Dataclasses are mutable because `ml_collections.config_flags` sets their fields from the command
line (`--config.sde.sigma_max=20`); nothing in the package changes one after `validate`.
"""

import dataclasses
import math
import runpy
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError


@dataclass
class SDEConfig:
    kind: str = "vp"  # vp | ve
    beta_min: float = 0.1
    beta_max: float = 20.0
    sigma_min: float = 0.01
    sigma_max: float = 50.0


@dataclass
class NetworkConfig:
    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 4)
    blocks: int = 2
    attention: tuple[int, ...] = ()
    patch: int = 1
    groups: int = 32  # of the group normalisation; keep several channels in each
    noise_scale: float = 1.0
    dtype: str = "float32"  # float32 | bfloat16
    remat: bool = False  # recompute each block in the backward pass: less memory, a third slower


@dataclass
class DiffusionConfig:
    form: str = "edm"  # edm | epsilon | score: what the network predicts
    times: str = "lognormal"  # lognormal | uniform | discrete | listed: seen in training
    log_mean: float = -1.2  # of the log noise ratio, for lognormal
    log_std: float = 1.2
    time_min: float = 1e-3  # smallest time, for lognormal and uniform
    steps: int = 1000  # of the discretised process, for discrete and listed
    listed: tuple[int, ...] = ()  # those of its steps, from 0, that are trained and sampled


@dataclass
class AdversarialConfig:
    l1_weight: float = 100.0
    channels: int = 64  # of the discriminator
    learning_rate: float = 2e-4  # of the discriminator


@dataclass
class DataConfig:
    batch_size: int = 16  # over all devices and hosts
    neighbours: int = 0  # MR slices on each side given as further channels
    z_slices: str = "::"  # slices of each volume used, as in Python: "0::2" takes every second
    intensity: str = "window"  # window | slice_minmax (the paper's)
    hu_low: float = -1000.0
    hu_high: float = 2000.0
    ct_mean: float = -0.6  # of the CT in model units, air around the body included
    ct_std: float = 0.33  # its standard deviation; both set the scale of the networks' outputs
    flip: bool = True  # left-right, p = 1/2
    rotate90: bool = False  # the paper's quarter turns, p = 1/2

    @property
    def lowest(self) -> float:
        """The smallest value of an MR or CT in model units; the largest is 1."""
        return 0.0 if self.intensity == "slice_minmax" else -1.0


@dataclass
class TrainingConfig:
    steps: int = 100_000
    learning_rate: float = 1e-4
    warmup: int = 0  # steps of linear warm-up
    decay: bool = False  # cosine decay to zero over `steps`
    clip: float = 0.0  # largest gradient norm; 0 does not clip
    ema: float = 0.9999  # decay of the parameters' moving average; 0 keeps none
    seed: int = 0
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    skip_limit: int = 20  # updates that may be skipped, as not finite, between two checkpoints
    rollback_rate: float = 0.0  # beyond it: go back once, learning rates times this; 0 stops


@dataclass
class SamplingConfig:
    """Each sampler's settings; `--evaluations` of synthesize.py sets the number of steps."""

    ddpm_steps: int = 1000
    em_steps: int = 1000
    pc_steps: int = 1000
    corrector_steps: int = 1
    snr: float = 0.16
    batch_mean_step: bool = False  # the authors' Langevin step, averaged over the batch
    ode_rtol: float = 1e-5
    ode_atol: float = 1e-5
    ode_denoise: bool = True  # end at `fast_end` as below; False: at t = 1e-3, as the paper does
    fast_evaluations: int = 20  # of ddim, dpm, dpm_sde and heun, the final denoising included
    fast_end: float = 0.01  # noise level std / alpha at which they end in the denoised image
    clip_denoised: bool = False  # keep the denoised estimate in the data's range, in any sampler
    shared_noise: bool = False  # the same in all slices of a draw, which then fit together along z


@dataclass
class Experiment:
    """Everything that determines a training run, apart from the data."""

    method: str = "diffusion"  # diffusion | cnn | gan
    sde: SDEConfig = field(default_factory=SDEConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


CHOICES = {
    "method": ("diffusion", "cnn", "gan"),
    "sde.kind": ("vp", "ve"),
    "network.dtype": ("float32", "bfloat16"),
    "diffusion.form": ("edm", "epsilon", "score"),
    "diffusion.times": ("lognormal", "uniform", "discrete", "listed"),
    "data.intensity": ("window", "slice_minmax"),
}
MAY_BE_ZERO = {
    "data.neighbours", "training.warmup", "training.clip", "training.ema", "training.seed",
    "training.skip_limit", "training.rollback_rate",
    "adversarial.l1_weight", "sampling.corrector_steps",
}  # fmt: skip
ANY_SIGN = {"diffusion.log_mean", "data.ct_mean", "data.hu_low", "data.hu_high"}

LARGEST_SEED = 2**32 - 1  # of a JAX key, which silently wraps a larger one
LARGEST, LARGEST_INT = 1e30, 2**31 - 1  # what float32 and int32 hold, on the devices


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"sde.beta_min": 0.1, ...}: every field under its full name."""
    flat = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        name = prefix + item.name
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat


def validate(config: Experiment) -> Experiment:
    """The configuration itself, if it can be run; else InputError naming the field."""
    if not isinstance(config, Experiment):
        raise InputError(f"The recipe gives {config!r}: let get_config() return an Experiment.")
    hints = _hints(Experiment)
    for name, value in flatten(config).items():
        _check_type(name, value, hints.get(name))
        _check_value(name, value)
    _check_together(flatten(config))
    return config


def _hints(kind: type, prefix: str = "") -> dict[str, Any]:
    """{"sde.beta_min": float, ...}: the type of every field under its full name."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(kind).items():
        nested = dataclasses.is_dataclass(hint)
        found |= _hints(hint, f"{prefix}{name}.") if nested else {prefix + name: hint}
    return found


WANTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    tuple[int, ...]: "whole numbers, as in (1, 2, 2)",
}


def _check_type(name: str, value: Any, hint: Any) -> None:
    if hint is float:
        fits = type(value) in (int, float) and math.isfinite(value)
    elif hint == tuple[int, ...]:
        fits = type(value) is tuple and all(type(n) is int for n in value)
    else:
        fits = type(value) is hint
    if not fits:
        raise InputError(f"config.{name}={value!r}: give {WANTED.get(hint, 'its own dataclass')}.")


def _check_value(name: str, value: Any) -> None:
    if name in CHOICES and value not in CHOICES[name]:
        raise InputError(f"config.{name}={value!r}: give one of {', '.join(CHOICES[name])}.")
    if type(value) in (int, float) and name not in ANY_SIGN:
        if not (value > 0 or (value == 0 and name in MAY_BE_ZERO)):
            least = "0 or more" if name in MAY_BE_ZERO else "a number above 0"
            raise InputError(f"config.{name}={value!r}: give {least}.")
    if type(value) is int and not abs(value) <= LARGEST_INT:
        raise InputError(f"config.{name}={value!r}: give at most {LARGEST_INT}.")
    if type(value) is float and value and not 1 / LARGEST <= abs(value) <= LARGEST:
        raise InputError(f"config.{name}={value!r}: give a size from {1 / LARGEST} to {LARGEST}.")


def _check_together(flat: dict[str, Any]) -> None:
    multipliers, attention = flat["network.multipliers"], flat["network.attention"]
    if not multipliers or min(multipliers) < 1:
        raise InputError(
            f"config.network.multipliers={multipliers}: give one number of 1 or more a level."
        )
    if not set(attention) <= set(range(len(multipliers))):
        raise InputError(
            f"config.network.attention={attention}: give levels from 0 to {len(multipliers) - 1}."
        )
    listed, steps = flat["diffusion.listed"], flat["diffusion.steps"]
    if flat["diffusion.times"] == "listed" and not (
        listed
        and sorted(set(listed)) == list(listed)
        and 0 <= listed[0]
        and listed[-1] == steps - 1
    ):
        raise InputError(
            f"config.diffusion.listed={listed}: give rising steps from 0 on, the last {steps - 1}."
        )
    if (fast := flat["sampling.fast_evaluations"]) < 3:  # a step of heun, and the denoising
        raise InputError(f"config.sampling.fast_evaluations={fast}: give 3 or more.")
    for name in ("training.ema", "training.rollback_rate", "diffusion.time_min"):
        if not flat[name] < 1:
            raise InputError(f"config.{name}={flat[name]} must be below 1.")
    pairs = [("sde.beta_min", "sde.beta_max"), ("sde.sigma_min", "sde.sigma_max")]
    pairs += [("data.hu_low", "data.hu_high")]
    if flat["training.decay"]:
        pairs += [("training.warmup", "training.steps")]
    for low, high in pairs:
        if not flat[low] < flat[high]:
            raise InputError(f"config.{low}={flat[low]} must be below config.{high}={flat[high]}.")
    if not flat["sampling.fast_end"] < (most := _noisiest(flat)):
        raise InputError(
            f"config.sampling.fast_end={flat['sampling.fast_end']} must be below the noise level "
            f"that sampling begins at, {most:.4g} by config.sde."
        )


def _noisiest(flat: dict[str, Any]) -> float:
    """std / alpha at t = 1."""
    if flat["sde.kind"] == "ve":
        return math.sqrt(max(flat["sde.sigma_max"] ** 2 - flat["sde.sigma_min"] ** 2, 0.0))
    log = (flat["sde.beta_min"] + flat["sde.beta_max"]) / 2
    return math.sqrt(math.expm1(log)) if log < 700 else math.inf


def to_dict(config: Experiment) -> dict[str, Any]:
    """Plain nested dictionaries, for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], kind: type = Experiment) -> Any:
    """The inverse of `to_dict`; unknown fields and missing sections are an InputError.

    An option younger than the record has its default, which does what was done before.
    """
    hints = typing.get_type_hints(kind)
    wanted = set(hints) if kind is Experiment else set()
    if odd := sorted((set(values) - set(hints)) | (wanted - set(values))):
        raise InputError(f"The stored configuration does not fit this version: {', '.join(odd)}.")
    return kind(**{name: _restore(value, hints[name]) for name, value in values.items()})


def _restore(value: Any, hint: type) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(value, hint)
    return tuple(value) if isinstance(value, list) else value


def differences(a: Experiment, b: Experiment) -> list[str]:
    """The fields in which two configurations differ, as "name: a -> b"."""
    left, right = flatten(a), flatten(b)
    return [f"{name}: {left[name]} -> {right[name]}" for name in left if left[name] != right[name]]


def recipe(path: Path) -> Experiment:
    """The experiment that a recipe file's `get_config()` returns."""
    require_recipe(path)
    return validate(runpy.run_path(str(path))["get_config"]())


def require_recipe(path: Path) -> None:
    """InputError where there is no such file."""
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such recipe; see configs/.")
