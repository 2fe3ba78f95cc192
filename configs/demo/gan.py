"""The demo's GAN: the same backbone as generator, a patch discriminator and L1.

TODO
"""

from sde_ct.config import (
    AdversarialConfig,
    DataConfig,
    Experiment,
    NetworkConfig,
    TrainingConfig,
)

NETWORK = NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8)


def get_config() -> Experiment:
    return Experiment(
        method="gan",
        network=NETWORK,
        adversarial=AdversarialConfig(l1_weight=100.0, channels=32, learning_rate=2e-4),
        data=DataConfig(batch_size=8),
        training=TrainingConfig(
            steps=300, learning_rate=1e-3, warmup=30, decay=True, clip=1.0, ema=0.99
        ),
    )
