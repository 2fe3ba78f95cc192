"""The GAN: the backbone of all methods as generator, and a patch discriminator."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sde_ct.config import Experiment
from sde_ct.methods import step
from sde_ct.methods.regression import answer, predict
from sde_ct.methods.step import TrainState, advance, keep_finite, mean_over
from sde_ct.models import PatchDiscriminator, UNet
from sde_ct.types import Batch, Method


class AdversarialState(NamedTuple):
    """What training carries from step to step. Synthesis uses only the generator."""

    generator: TrainState
    discriminator: TrainState


def adversarial(
    config: Experiment,
    network: UNet,
    discriminator: PatchDiscriminator,
    axis_name: str | None = None,
) -> Method:
    """pix2pix (Isola et al. 2017) with the least-squares game (Mao et al. 2017).

    generator: (D(mr, G(mr)) - 1)² + l1_weight |G(mr) - ct|
    discriminator: ½ (D(mr, ct) - 1)² + ½ D(mr, G(mr))²

    Where the CT was not measured (valid = 0), G(mr) is replaced by the CT in both losses, so that
    neither the L1 distance nor the discriminator sees a difference there.
    """
    # Only the discriminator has pix2pix's b1 = 0.5. The demo's generator learns ten times as fast
    # as in pix2pix. With b1 = 0.5 its updates amplified rounding errors: two runs of one recipe
    # with one seed gave results 2 HU apart.
    for_generator = step.adam(config.training)
    rate = step.schedule(config.training, config.training.learning_rate)
    for_discriminator = step.adam(config.training, config.adversarial.learning_rate, b1=0.5)

    def init(key, batch: Batch, params=None):
        first, second = jax.random.split(key)
        generator = network.forward.init(first, batch.mr[:1]) if params is None else params
        critic = discriminator.init(second, batch.mr[:1], batch.ct[:1])
        return AdversarialState(
            step.fresh(generator, for_generator, config.training.ema),
            step.fresh(critic, for_discriminator, ema=0.0),
        )

    def generator_loss(generator, critic, batch: Batch):
        fake = predict(generator, batch.mr, network=network, data=config.data)
        fake = jnp.where(batch.valid > 0, fake, batch.ct)
        l1 = jnp.mean(jnp.abs(fake - batch.ct))
        game = jnp.mean((discriminator.apply(critic, batch.mr, fake) - 1) ** 2)  # type: ignore[operator]
        return game + config.adversarial.l1_weight * l1, (fake, {"l1": l1, "game": game})

    def discriminator_loss(critic, fake, batch: Batch):
        real = discriminator.apply(critic, batch.mr, batch.ct)
        synthetic = discriminator.apply(critic, batch.mr, fake)
        return (jnp.mean((real - 1) ** 2) + jnp.mean(synthetic**2)) / 2  # type: ignore[operator]

    def update(state: AdversarialState, keys, batch: Batch):
        generator, critic = state.generator.params, state.discriminator.params
        (total, (fake, parts)), gradient = jax.value_and_grad(generator_loss, has_aux=True)(
            generator, critic, batch
        )
        game, critic_gradient = jax.value_and_grad(discriminator_loss)(critic, fake, batch)
        metrics = {"loss": total, "discriminator": game, **parts}
        gradient, critic_gradient, values = mean_over(
            axis_name, gradient, critic_gradient, list(metrics.values())
        )
        metrics = dict(zip(metrics, values, strict=True))
        metrics["gradient_norm"] = jnp.linalg.norm(gradient)
        metrics["discriminator_gradient_norm"] = jnp.linalg.norm(critic_gradient)
        new = AdversarialState(
            advance(state.generator, gradient, for_generator, config.training.ema),
            advance(state.discriminator, critic_gradient, for_discriminator, ema=0.0),
        )
        # Either both networks are updated or neither is.
        new, metrics["skipped"] = keep_finite(new, state, list(metrics.values()))
        return new, metrics | {"learning_rate": rate(state.generator.step)}

    def weights(state: AdversarialState):
        return step.weights(state.generator)

    def evaluate(state: AdversarialState, keys, batch: Batch):
        total, (_, parts) = generator_loss(weights(state), state.discriminator.params, batch)
        metrics = {"loss": total, **parts}
        (values,) = mean_over(axis_name, list(metrics.values()))
        return dict(zip(metrics, values, strict=True))

    draw = answer(network.forward, config.data)
    return Method(init, update, evaluate, weights, draw, is_random=False)
