"""The GAN: the same backbone as generator, a patch discriminator, and the L1 distance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from sde_ct.config import Experiment
from sde_ct.methods.regression import predict
from sde_ct.methods.step import adam, mean_over, moving_average
from sde_ct.models import PatchDiscriminator, UNet
from sde_ct.types import Batch, Method


class AdversarialState(NamedTuple):
    """Both networks, both optimisers; `ema` averages the generator (None where none is kept)."""

    generator: Any
    discriminator: Any
    ema: Any
    generator_optimiser: optax.OptState
    discriminator_optimiser: optax.OptState
    step: Int[Array, ""]


def adversarial(
    config: Experiment,
    network: UNet,
    discriminator: PatchDiscriminator,
    axis_name: str | None = None,
) -> Method:
    """pix2pix (Isola et al. 2017) with the least-squares game (Mao et al. 2017).

    generator: (D(mr, G(mr)) - 1)² + l1_weight |G(mr) - ct|
    discriminator: ½ (D(mr, ct) - 1)² + ½ D(mr, G(mr))²
    """
    # b1 = 0.5 as in pix2pix: momentum makes the two players orbit each other.
    for_generator = adam(config.training, b1=0.5)
    for_discriminator = adam(config.training, config.adversarial.learning_rate, b1=0.5)
    decay = config.training.ema

    def init(key, batch: Batch):
        first, second = jax.random.split(key)
        generator = network.init(first, batch.mr[:1])
        critic = discriminator.init(second, batch.mr[:1], batch.ct[:1])
        return AdversarialState(
            generator,
            critic,
            jax.tree.map(jnp.copy, generator) if decay else None,
            for_generator.init(generator),
            for_discriminator.init(critic),
            jnp.zeros((), jnp.int32),
        )

    def generator_loss(generator, critic, batch: Batch):
        fake = predict(generator, batch.mr, network=network, data=config.data)
        l1 = jnp.mean(jnp.abs(fake - batch.ct))
        game = jnp.mean((discriminator.apply(critic, batch.mr, fake) - 1) ** 2)
        return game + config.adversarial.l1_weight * l1, (fake, {"l1": l1, "game": game})

    def discriminator_loss(critic, fake, batch: Batch):
        real = discriminator.apply(critic, batch.mr, batch.ct)
        synthetic = discriminator.apply(critic, batch.mr, fake)
        return (jnp.mean((real - 1) ** 2) + jnp.mean(synthetic**2)) / 2

    def update(state: AdversarialState, keys, batch: Batch):
        del keys  # nothing here is random
        (total, (fake, parts)), slope = jax.value_and_grad(generator_loss, has_aux=True)(
            state.generator, state.discriminator, batch
        )
        game, critic_slope = jax.value_and_grad(discriminator_loss)(
            state.discriminator, fake, batch
        )
        metrics = {"loss": total, "discriminator": game, **parts}
        slope, critic_slope, metrics = mean_over(axis_name, (slope, critic_slope, metrics))
        step, generator_optimiser = for_generator.update(slope, state.generator_optimiser)
        generator = optax.apply_updates(state.generator, step)
        step, discriminator_optimiser = for_discriminator.update(
            critic_slope, state.discriminator_optimiser
        )
        critic = optax.apply_updates(state.discriminator, step)
        ema = moving_average(state.ema, generator, decay, state.step) if decay else None
        metrics["gradient_norm"] = optax.global_norm(slope)
        state = AdversarialState(
            generator, critic, ema, generator_optimiser, discriminator_optimiser, state.step + 1
        )
        return state, metrics

    def weights(state: AdversarialState):
        return state.ema if decay else state.generator

    def evaluate(state: AdversarialState, keys, batch: Batch):
        del keys
        total, (_, parts) = generator_loss(weights(state), state.discriminator, batch)
        return mean_over(axis_name, {"loss": total, **parts})

    return Method(init, update, evaluate, weights)
