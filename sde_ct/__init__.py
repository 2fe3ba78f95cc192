"""Synthetic CT from MR by conditional diffusion and score models, with its uncertainty."""

from sde_ct.sde import VESDE, VPSDE

__all__ = ["VESDE", "VPSDE"]
__version__ = "0.1.0"
