"""The paper's diffusion (DDPM and score model), CNN and GAN, and diffusion of a residual."""

from sde_ct.methods.build import (
    build_method,
    build_network,
    build_sampled,
    build_sde,
    takes_sampler,
)

__all__ = ["build_method", "build_network", "build_sampled", "build_sde", "takes_sampler"]
