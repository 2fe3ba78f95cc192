"""The demo's score model: variance-exploding SDE, sampled by EM, PC and ODE.

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
        sde=SDEConfig(kind="ve", sigma_min=0.01, sigma_max=10.0),
        network=NETWORK,
        diffusion=DiffusionConfig(form="edm", times="lognormal", sigma_data=0.33),
        data=DataConfig(batch_size=8),
        training=TrainingConfig(
            steps=600, learning_rate=1e-3, warmup=30, decay=True, clip=1.0, ema=0.99
        ),
        sampling=SamplingConfig(em_steps=40, pc_steps=25, ode_rtol=0.05, ode_atol=0.05),
    )
