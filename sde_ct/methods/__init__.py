"""The methods: the paper's diffusion, CNN and GAN, and three that draw a residual."""

from sde_ct.methods.build import (
    build_method,
    build_network,
    build_sampled,
    build_sde,
    takes_sampler,
)

__all__ = ["build_method", "build_network", "build_sampled", "build_sde", "takes_sampler"]
