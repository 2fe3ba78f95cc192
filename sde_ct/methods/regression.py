"""The CNN: the backbone of all methods, trained to predict the CT in one evaluation."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.config import DataConfig, Experiment
from sde_ct.methods.slices import by_slices
from sde_ct.methods.step import supervised
from sde_ct.models import UNet
from sde_ct.sampling.chain import all_finite
from sde_ct.sampling.keys import as_typed
from sde_ct.types import Batch, Method, Samples


def predict(
    params,
    mr: Float[Array, "b h w k"],
    keys: Key[Array, " b"] | None = None,
    *,
    network: UNet,
    data: DataConfig,
) -> Float[Array, "b h w 1"]:
    """The CT of a CNN or GAN in model units: ct_mean + ct_std · F(mr), where F is the network.

    Keys choose the feature maps that dropout leaves out in each image; None turns dropout off.
    """
    return data.ct_mean + data.ct_std * network.apply(params, mr, keys=keys)  # type: ignore[operator]


def answer(network: UNet, data: DataConfig) -> Callable[..., Samples]:
    """The `draw` of CNN and GAN. Without dropout it returns `predict` for any keys.

    With dropout, each key chooses one network, which predicts all slices of its volume (Gal &
    Ghahramani 2016). `along_z` has no effect, because no noise is drawn.
    """

    def draw(params, keys, mr: Float[Array, "n z h w k"], along_z=None) -> Samples:
        volumes = [mr]
        if network.dropout:
            volumes.append(jnp.broadcast_to(as_typed(keys)[:, None], mr.shape[:2]))
        x = by_slices(partial(predict, params, network=network, data=data), *volumes)
        return Samples(x, nfe=jnp.ones(len(x), jnp.int32), ok=all_finite(x))

    return draw


def regression(config: Experiment, network: UNet, axis_name: str | None = None) -> Method:
    """Train by least squares. The minimiser is E[CT | MR], the limit of the mean of many draws.

    With `config.network.dropout`, feature maps are left out at random in training and synthesis:
    draws then differ, as draws from an approximate posterior of the network (MC dropout). The
    validation loss is that of single draws.
    """

    def initialise(key, batch: Batch):
        return network.forward.init(key, batch.mr[:1])

    def loss(params, keys, batch: Batch) -> Float[Array, ""]:
        ct = predict(params, batch.mr, keys, network=network, data=config.data)
        return jnp.mean(batch.valid * (ct - batch.ct) ** 2)

    draw, is_random = answer(network.forward, config.data), config.network.dropout > 0
    return supervised(initialise, loss, config.training, axis_name, draw=draw, is_random=is_random)
