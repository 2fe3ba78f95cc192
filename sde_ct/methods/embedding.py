"""The coarsest features of a trained network, which tell one anatomy from another."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.methods.decomposition import Params
from sde_ct.models import UNet

LAYER = "middle_out"  # the coarsest of the UNet


def coarse_features(
    network: UNet, params: Any, mr: Float[Array, "b h w k"]
) -> Float[Array, "b i j c"]:
    """The features in the middle of a network that sees MR slices, on its coarsest grid.

    Args:
      network: from `build_network`.
      params: the weights that any method has for synthesis. If they are `Params`, the regression
        is taken. All channels but those of the MR are 0, and so is the noise label.
      mr: in model units.
    """
    weights = params.mean if isinstance(params, Params) else params
    layers = weights["params"]
    channels = layers["stem"]["kernel"].shape[2] // network.patch**2
    shown = jnp.concatenate([jnp.zeros((*mr.shape[:-1], channels - mr.shape[-1])), mr], axis=-1)
    label = jnp.zeros(len(mr)) if "noise" in layers else None
    _, seen = network.apply(
        weights,
        shown,
        label,
        capture_intermediates=lambda module, name: module.name == LAYER,
        mutable=["intermediates"],
    )
    return seen["intermediates"][LAYER]["__call__"][0].astype(jnp.float32)
