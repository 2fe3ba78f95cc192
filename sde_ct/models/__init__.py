"""Flax Linen networks; they know nothing of SDEs, methods or data."""

from sde_ct.models.discriminator import PatchDiscriminator
from sde_ct.models.unet import UNet

__all__ = ["PatchDiscriminator", "UNet"]
