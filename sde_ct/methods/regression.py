"""The CNN: the same backbone, trained to give the CT in one step."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import DataConfig, Experiment
from sde_ct.methods.step import supervised
from sde_ct.models import UNet
from sde_ct.types import Batch, Method, Samples


def predict(
    params, mr: Float[Array, "b h w k"], *, network: UNet, data: DataConfig
) -> Float[Array, "b h w 1"]:
    """CT in model units from MR in one evaluation: mean + std · F(mr), F of unit variance.

    The GAN's generator predicts the same way.
    """
    return data.ct_mean + data.ct_std * network.apply(params, mr)  # type: ignore[operator]


def answer(network: UNet, data: DataConfig) -> Callable[..., Samples]:
    """`draw` of a method without randomness: `predict`, in one evaluation, for any keys."""

    def draw(params, keys, mr: Float[Array, "b h w k"]) -> Samples:
        del keys
        x = predict(params, mr, network=network, data=data)
        return Samples(x, nfe=jnp.ones(len(x), jnp.int32), ok=jnp.isfinite(x).all(axis=(1, 2, 3)))

    return draw


def regression(config: Experiment, network: UNet, axis_name: str | None = None) -> Method:
    """Least squares: the minimiser is E[CT | MR], what the mean of many draws tends to."""

    def initialise(key, batch: Batch):
        return network.init(key, batch.mr[:1])

    def loss(params, keys, batch: Batch) -> Float[Array, ""]:
        del keys  # nothing here is random
        ct = predict(params, batch.mr, network=network, data=config.data)
        return jnp.mean(batch.valid * (ct - batch.ct) ** 2)

    draw = answer(network, config.data)
    return supervised(initialise, loss, config.training, axis_name, draw=draw, is_random=False)
