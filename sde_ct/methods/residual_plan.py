"""Which network of the residual method a step trains, and at which learning rate."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from sde_ct.config import Experiment
from sde_ct.methods.step import schedule


class Plan:
    """First the regression alone, then it and its copies in turns, at last the denoiser.

    The regression trains alone for `shared_epochs` passes over the data, in which it does not yet
    know single patients by heart. What remains of its part of the steps is divided equally.
    """

    def __init__(self, config: Experiment):
        self._residual, self._training = config.residual, config.training
        self.folds = config.residual.folds
        self.denoiser = 1 + self.folds  # its number; the regression is 0, the copies follow
        share = round(config.residual.denoiser_share * config.training.steps)
        self.first = config.training.steps - max(share, 1)  # the denoiser's first step

    def turn(
        self, steps: Int[Array, " networks"], epoch: Int[Array, ""]
    ) -> tuple[Int[Array, ""], Bool[Array, ""]]:
        """The network to train, and whether it is the regression before the copies begin.

        Args:
          steps: the updates that each network has had.
          epoch: of the batch.
        """
        parted = steps[1 : self.denoiser].sum() > 0
        shared = ~parted & (epoch < self._residual.shared_epochs)
        step = steps.sum()
        number = jnp.where(shared, 0, step % self.denoiser)
        number = jnp.where(step < self.first, number, self.denoiser)
        return number, shared & (step < self.first)

    def rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The learning rate: the recipe's schedule once for the regressions, once for the rest."""
        total = self._training.steps

        def part(steps: int):
            warmup = min(self._training.warmup, steps // 4)
            return schedule(
                replace(self._training, steps=steps, warmup=warmup), self._training.learning_rate
            )

        return jnp.where(
            step < self.first, part(self.first)(step), part(total - self.first)(step - self.first)
        )

    def optimiser(self, rate: Any) -> optax.GradientTransformation:
        """Adam as `step.adam` sets it, at this learning rate."""
        clip = self._training.clip
        parts = [optax.clip_by_global_norm(clip)] if clip else []
        return optax.chain(*parts, optax.scale_by_adam(), optax.scale(-rate))
