"""The demo's DDPM: variance-preserving diffusion on phantom pelvises, 64 x 48 pixels.

TODO
"""

from sde_ct.config import (
    DataConfig,
    DiffusionConfig,
    Experiment,
    NetworkConfig,
    SamplingConfig,
    SDEConfig,
    TrainingConfig,
)

NETWORK = NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8)


def get_config() -> Experiment:
    return Experiment(
        method="diffusion",
        sde=SDEConfig(kind="vp", beta_min=0.1, beta_max=20.0),
        network=NETWORK,
        diffusion=DiffusionConfig(form="edm", times="lognormal", sigma_data=0.33),
        data=DataConfig(batch_size=8),
        training=TrainingConfig(
            steps=600, learning_rate=1e-3, warmup=30, decay=True, clip=1.0, ema=0.99
        ),
        sampling=SamplingConfig(ddpm_steps=40),
    )
