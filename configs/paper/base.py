"""What the authors' two models share (arXiv 2209.12104): network, per-slice scaling, batches.

The paper states neither the number of training steps nor its hardware; 200,000 steps is our choice.
"""

from sde_ct.config import DataConfig, Experiment, NetworkConfig, TrainingConfig


def get_config() -> Experiment:
    return Experiment(
        network=NetworkConfig(channels=64, multipliers=(1, 2, 2, 4, 4), blocks=2, noise_scale=30.0),
        data=DataConfig(batch_size=4, intensity="slice_minmax", flip=True, rotate90=True),
        training=TrainingConfig(steps=200_000, learning_rate=1e-4),
    )
