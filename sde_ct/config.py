"""The typed configuration of an experiment: what a recipe in `configs/` returns.

The dataclasses are mutable because `ml_collections.config_flags` sets their fields from the command
line (`--config.sde.sigma_max=20`); nothing in the package changes them after `validate`. Values are
str, int, float, bool or a tuple of int: `config_flags` 1.1.0 can neither override a `Literal` field
nor set an optional one back to None.
"""

import math
import runpy
from dataclasses import dataclass, field
from pathlib import Path

from sde_ct.constraints import at_least, check, choice, number, positive
from sde_ct.errors import InputError

LARGEST_SEED = 2**32 - 1  # JAX wraps larger seeds of a key without a warning
# The values of --sampler, apart from "mean", in the order of `methods.samplers.TABLE`, whose import
# takes seconds. The fast samplers make `SamplingConfig.fast_evaluations`.
FAST_SAMPLERS = ("ddim", "dpm", "dpm_sde", "unipc", "heun")
SAMPLER_NAMES = ("ddpm", "em", "pc", "ode", *FAST_SAMPLERS)


@dataclass
class SDEConfig:
    kind: str = choice("vp", "ve")
    beta_min: float = positive(0.1)
    beta_max: float = positive(20.0, above="beta_min")
    sigma_min: float = positive(0.01)
    sigma_max: float = positive(50.0, above="sigma_min")


@dataclass
class NetworkConfig:
    channels: int = positive(64, below=2**13)
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 4)  # factors of `channels` by level, finest first
    blocks: int = positive(2)
    attention: tuple[int, ...] = ()  # levels with self-attention; 0 is the finest
    patch: int = positive(1)
    groups: int = positive(32)  # of group normalisation; each should hold several channels
    noise_scale: float = positive(1.0)  # standard deviation of the noise features' frequencies
    dropout: float = at_least(0, 0.0, below=1)  # CNN: share of feature maps zeroed, so draws differ
    dtype: str = choice("float32", "bfloat16")
    remat: bool = False  # recompute convolutions in the backward pass too: less memory, slower


@dataclass
class DiffusionConfig:
    form: str = choice("edm", "epsilon", "score")  # what the network predicts
    times: str = choice("lognormal", "uniform", "discrete", "listed")  # how training draws times
    log_mean: float = number(-1.2)  # mean of log(std / alpha), for lognormal
    log_std: float = positive(1.2)
    time_min: float = positive(1e-4, below=1)  # smallest time, for lognormal and uniform
    # Steps of the discretised process, for discrete and listed times and for the form epsilon.
    steps: int = positive(1000)
    listed: tuple[int, ...] = ()  # the steps, counted from 0, that are trained and sampled


@dataclass
class AdversarialConfig:
    l1_weight: float = at_least(0, 100.0)
    channels: int = positive(64)  # of the discriminator
    learning_rate: float = positive(2e-4)  # of the discriminator


@dataclass
class ResidualConfig:
    denoiser_share: float = positive(0.5, below=1)  # share of `training.steps`, the last ones


@dataclass
class DataConfig:
    batch_size: int = positive(16, below=2**16)  # examples, over all devices and hosts
    contrasts: int = positive(1)  # of the MR, as many as the prepared data have
    neighbours: int = at_least(0, 0)  # MR slices on each side given as further channels
    slab: int = positive(1, below=2**10)  # neighbouring slices in an example; `joint` has several
    z_slices: str = "::"  # slices of each volume used, as in Python: "0::2" takes every second
    intensity: str = choice("window", "slice_minmax")  # slice_minmax is the paper's
    hu_low: float = number(-1000.0)
    hu_high: float = number(2000.0, above="hu_low")
    ct_mean: float = number(-0.6)  # of the CT in model units, air around the body included
    ct_std: float = positive(0.33)  # with ct_mean, sets the scale of the networks' outputs
    flip: bool = True  # left-right, with probability 1/2
    rotate90: bool = False  # the paper's quarter turns, with probability 1/2
    deform: float = at_least(0, 0.0, below=2)  # strength of random deformations of half the slices

    @property
    def slices(self) -> int:  # in one training step
        return self.batch_size * self.slab

    @property
    def channels(self) -> int:  # of the MR in the input for one slice
        return self.contrasts * (1 + 2 * self.neighbours)

    @property
    def lowest(self) -> float:
        """The smallest value of an MR or CT in model units; the largest is 1."""
        return 0.0 if self.intensity == "slice_minmax" else -1.0


@dataclass
class TrainingConfig:
    steps: int = positive(100_000)
    learning_rate: float = positive(1e-4)
    warmup: int = at_least(0, 0)  # steps of linear warm-up
    decay: bool = False  # cosine decay to zero over `steps`
    clip: float = at_least(0, 0.0)  # largest gradient norm; 0 does not clip
    ema: float = at_least(0, 0.9999, below=1)  # decay of the moving average; 0 keeps none
    seed: int = at_least(0, 0)
    log_every: int = positive(50)
    validate_every: int = positive(1000)
    checkpoint_every: int = positive(1000)
    keep_checkpoints: int = positive(2)
    # How many updates may be skipped between two checkpoints because they are not finite. After
    # more, the run returns to the newest checkpoint and multiplies the learning rates by
    # `rollback_rate`. It stops if this happens again, or if `rollback_rate` is 0.
    skip_limit: int = at_least(0, 20, earlier=0)
    rollback_rate: float = at_least(0, 0.0, below=1)


@dataclass
class SamplingConfig:
    """Each sampler's settings; `--evaluations` of synthesize.py sets the number of steps."""

    ddpm_steps: int = positive(1000)
    em_steps: int = positive(1000)
    pc_steps: int = positive(1000)
    corrector_steps: int = at_least(0, 1)
    snr: float = positive(0.16)
    batch_mean_step: bool = False  # the authors' Langevin step, averaged over the batch
    ode_rtol: float = positive(1e-5)
    ode_atol: float = positive(1e-5)
    # True: end in the denoised image at `fast_end`, as fast solvers do. False: end at t = 1e-3, as
    # the paper does.
    ode_denoise: bool = number(True, earlier=False)
    fast_evaluations: int = at_least(3, 20)  # of `FAST_SAMPLERS`, denoising included
    # Noise levels of the fast solvers except UniPC. UniPC has levels of its own with 4 to 8
    # evaluations, and otherwise those of `log_snr`.
    fast_grid: str = choice("log_snr", "karras", earlier="karras")
    # Noise level std / alpha at which the fast solvers, and the ODE with `ode_denoise`, denoise and
    # end. With `log_snr` it is in units of the data's standard deviation.
    fast_end: float = positive(0.01)
    few_width: float = positive(1.0)  # factor on UniPC's own levels, with 4 to 8 evaluations
    clip_denoised: bool = False  # keep the denoised estimate in the data's range, in any sampler
    shared_noise: bool = False  # the same noise in all slices of a draw: smoother along z
    correlated_noise: bool = False  # noise as correlated along z as the training CTs


@dataclass
class Experiment:
    """All settings of a training, apart from its data and the weights that it starts from."""

    method: str = choice("diffusion", "residual", "joint", "distilled", "cnn", "gan")
    sde: SDEConfig = field(default_factory=SDEConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    residual: ResidualConfig = field(default_factory=ResidualConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)


def validate(config: Experiment) -> Experiment:
    """Return the configuration, or raise InputError if it cannot be run."""
    if not isinstance(config, Experiment):
        raise InputError(
            f"The recipe gives a {type(config).__name__}: let get_config() return an Experiment."
        )
    check(config)
    _check_together(config)
    return config


def _check_together(config: Experiment) -> None:
    """Check the constraints between several fields."""
    multipliers, attention = config.network.multipliers, config.network.attention
    if not multipliers or min(multipliers) < 1:
        raise InputError(f"config.network.multipliers={multipliers}: give each level 1 or more.")
    if not set(attention) <= set(range(len(multipliers))):
        raise InputError(
            f"config.network.attention={attention}: give levels from 0 to {len(multipliers) - 1}."
        )
    listed, last = list(config.diffusion.listed), config.diffusion.steps - 1
    rising = sorted(set(listed)) == listed and listed[:1] >= [0] and listed[-1:] == [last]
    if config.diffusion.times == "listed" and not rising:
        raise InputError(
            f"config.diffusion.listed={tuple(listed)}: give rising steps that "
            f"begin with 0 and end with {last}."
        )
    training = config.training
    if training.decay and not training.warmup < training.steps:
        raise InputError(
            f"config.training.warmup={training.warmup} must be below "
            f"config.training.steps={training.steps}."
        )
    if config.method in ("residual", "joint") and config.sampling.clip_denoised:
        raise InputError(
            "config.sampling.clip_denoised=True keeps a CT in its range, but "
            f"config.method={config.method!r} draws a difference of CTs: set it to False."
        )
    if (config.method == "joint") != (config.data.slab > 1):
        raise InputError(
            f"config.data.slab={config.data.slab}: give 2 or more with config.method='joint', "
            "which learns from several slices at once, and 1 with every other method."
        )
    if config.method == "joint" and not config.sampling.correlated_noise:
        raise InputError(
            "config.method='joint' learns with noise that is correlated between slices: set "
            "config.sampling.correlated_noise to True."
        )
    if config.network.dropout and config.method != "cnn":
        raise InputError(
            f"config.network.dropout={config.network.dropout} is for config.method='cnn' only: "
            "set it to 0."
        )
    if config.sampling.shared_noise and config.sampling.correlated_noise:
        raise InputError(
            "config.sampling.shared_noise and config.sampling.correlated_noise exclude each other: "
            "set one of them to False."
        )
    if not config.sampling.fast_end < (most := _noisiest(config.sde)):
        raise InputError(
            f"config.sampling.fast_end={config.sampling.fast_end} must be below "
            f"{most:.4g}, the noise level of config.sde at which sampling begins."
        )


def _noisiest(sde: SDEConfig) -> float:
    """The noise level std / alpha at t = 1, where sampling begins."""
    if sde.kind == "ve":
        return math.sqrt(sde.sigma_max**2 - sde.sigma_min**2)
    log = (sde.beta_min + sde.beta_max) / 2
    return math.sqrt(math.expm1(log)) if log < 700 else math.inf


def recipe(path: Path) -> Experiment:
    """The experiment that a recipe file's `get_config()` returns."""
    require_recipe(path)
    return validate(runpy.run_path(str(path))["get_config"]())


def require_recipe(path: Path) -> None:
    """Raise InputError if the recipe file does not exist."""
    if not Path(path).is_file():
        raise InputError(f"{path}: there is no such recipe; see configs/.")
