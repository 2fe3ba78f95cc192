"""Layers that do not check their parameters, so that networks are traced in half the time.

Group normalisation and convolutions of the UNet also compute nothing while their parameters are
initialised, because the parameters depend only on the shapes of the activations.
"""

from typing import Any

import flax.linen as nn


class Layer(nn.Module):
    """A module that compares no shapes when it is applied to existing parameters.

    Flax (0.12.12) traces the initializer of each parameter again at each application to compare
    shapes, which takes half of the time in which a network is traced. A checkpoint is compared with
    the shapes of its network when it is read.
    """

    @nn.nowrap
    def param(self, name: str, init_fn: Any, *init_args: Any, **options: Any) -> Any:
        """As `flax.linen.Module.param`."""
        if self.has_variable("params", name):
            return self.get_variable("params", name)
        return super().param(name, init_fn, *init_args, **options)


class Dense(Layer, nn.Dense):
    """`flax.linen.Dense`."""


class Conv(Layer, nn.Conv):
    """`flax.linen.Conv`."""
