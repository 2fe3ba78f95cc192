"""Flax Linen networks, which depend on no SDE, method or data."""

from sde_ct.models.discriminator import PatchDiscriminator
from sde_ct.models.unet import UNet

__all__ = ["PatchDiscriminator", "UNet"]
