"""The SDE, the network and the method of a configuration."""

import jax.numpy as jnp

from sde_ct.config import Experiment
from sde_ct.errors import InputError
from sde_ct.methods.adversarial import adversarial
from sde_ct.methods.diffusion import diffusion
from sde_ct.methods.distilled import distilled
from sde_ct.methods.joint import joint
from sde_ct.methods.regression import regression
from sde_ct.methods.residual import residual
from sde_ct.methods.samplers import MEAN, SAMPLERS, require_steps
from sde_ct.models import PatchDiscriminator, UNet
from sde_ct.sde import SDE, VESDE, VPSDE
from sde_ct.types import Method

SAMPLED = {"diffusion": diffusion, "residual": residual, "joint": joint}


def build_sde(config: Experiment) -> SDE:
    """The forward process."""
    if config.sde.kind == "ve":
        return VESDE(sigma_min=config.sde.sigma_min, sigma_max=config.sde.sigma_max)
    return VPSDE(beta_min=config.sde.beta_min, beta_max=config.sde.beta_max)


def build_network(config: Experiment) -> UNet:
    """The backbone, the same for every method."""
    fields = vars(config.network) | {
        "multipliers": tuple(config.network.multipliers),
        "attention": tuple(config.network.attention),
        "dtype": jnp.dtype(config.network.dtype),
    }
    return UNet(**fields)


def takes_sampler(config: Experiment) -> bool:
    """Whether the method draws with one of `methods.samplers.SAMPLERS`."""
    return config.method in SAMPLED


def build_method(
    config: Experiment, axis_name: str | None = None, *, sampler: str | None = None
) -> Method:
    """The method that a configuration names.

    Args:
      axis_name: the device axis over which gradients are averaged; None for one device.
      sampler: one of `methods.samplers.SAMPLERS` for a diffusion, residual or joint network,
        where None is "ddpm". `methods.samplers.MEAN` gives the regression of a residual, joint or
        distilled network.

    Raises:
      InputError: a sampler that is unknown, or that this network cannot use.
    """
    network = build_network(config)
    if config.method == "diffusion" and sampler == MEAN:
        raise InputError(
            f"config.method='diffusion' has no regression for the sampler {MEAN!r}: give one of "
            f"{', '.join(SAMPLERS)}."
        )
    if takes_sampler(config):
        method, name = SAMPLED[config.method], "ddpm" if sampler is None else sampler
        return method(config, build_sde(config), network, axis_name, sampler=name)
    if config.method == "distilled" and sampler in (None, MEAN):
        return distilled(config, build_sde(config), network, axis_name, only_mean=sampler == MEAN)
    if sampler is not None:
        raise InputError(
            f"config.method={config.method!r} has no sampler: leave out sampler={sampler!r}."
        )
    if config.method == "cnn":
        return regression(config, network, axis_name)
    if config.method == "gan":
        width, groups = config.adversarial.channels, config.network.groups
        critic = PatchDiscriminator(width, groups, network.dtype)
        return adversarial(config, network, critic, axis_name)
    raise InputError(f"config.method={config.method!r}: no such method is built here.")


def build_sampled(config: Experiment, *, sampler: str | None) -> Method:
    """The method for synthesis: `build_method`, with an InputError if the steps are too few."""
    method = build_method(config, sampler=sampler)
    if sampler in SAMPLERS:
        require_steps(sampler, config, build_sde(config))
    return method
