"""What the demo's recipes share: 48 x 64 phantom slices, and minutes of training on two cores."""

from sde_ct.config import DataConfig, Experiment, NetworkConfig, TrainingConfig


def get_config() -> Experiment:
    return Experiment(
        # Patches of 2 x 2 pixels leave 24 x 32 positions: a quarter of the work of a plain UNet.
        network=NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8),
        data=DataConfig(batch_size=4, deform=0.25),
        training=TrainingConfig(
            steps=720,
            learning_rate=2e-3,
            warmup=50,
            decay=True,
            clip=1.0,
            ema=0.99,
            validate_every=720,
        ),
    )
