"""What the recipes for real pelves share: 256 x 256 slices at 1.75 mm, one GPU, bfloat16.

The recipes have a fixed HU window, unit-variance inputs and targets, deformed slices, smooth noise
features, a moving average of the weights, and attention on the coarsest level.
"""

from sde_ct.config import DataConfig, Experiment, NetworkConfig, TrainingConfig


def get_config() -> Experiment:
    return Experiment(
        network=NetworkConfig(
            channels=64, multipliers=(1, 2, 4, 4), blocks=2, attention=(3,), dtype="bfloat16"
        ),
        data=DataConfig(batch_size=16, deform=1.0),
        training=TrainingConfig(
            steps=200_000, learning_rate=2e-4, warmup=1000, decay=True, clip=1.0, ema=0.9999
        ),
    )
