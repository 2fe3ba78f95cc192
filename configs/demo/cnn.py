"""The demo's CNN: the same backbone, least squares, one evaluation a slice.

TODO
"""

from sde_ct.config import (
    DataConfig,
    Experiment,
    NetworkConfig,
    TrainingConfig,
)

NETWORK = NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8)


def get_config() -> Experiment:
    return Experiment(
        method="cnn",
        network=NETWORK,
        data=DataConfig(batch_size=8),
        training=TrainingConfig(
            steps=300, learning_rate=1e-3, warmup=30, decay=True, clip=1.0, ema=0.99
        ),
    )
