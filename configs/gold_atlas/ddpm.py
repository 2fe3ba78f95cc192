"""Variance-preserving diffusion for real pelves: 256 x 256 slices at 1.75 mm, bfloat16.

Fixed HU window, unit-variance inputs and targets, smooth noise features, moving average of the
weights, attention on the coarsest level.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/ddpm.py --data=data --workdir=runs/ddpm
  python launch/synthesize.py --workdir=runs/ddpm --mr=FILE.nii.gz --output=out --sampler=dpm_sde

Cost: 26 M parameters, meant for one GPU. Not run on Gold Atlas, which is not ours to distribute;
expect of it what you measure.
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

NETWORK = NetworkConfig(
    channels=64, multipliers=(1, 2, 4, 4), blocks=2, attention=(3,), dtype="bfloat16"
)


def get_config() -> Experiment:
    return Experiment(
        method="diffusion",
        sde=SDEConfig(kind="vp", beta_min=0.1, beta_max=20.0),
        network=NETWORK,
        diffusion=DiffusionConfig(form="edm", times="lognormal"),
        data=DataConfig(batch_size=16, hu_low=-1000.0, hu_high=2000.0),
        training=TrainingConfig(
            steps=200_000, learning_rate=2e-4, warmup=1000, decay=True, clip=1.0, ema=0.9999
        ),
        sampling=SamplingConfig(ddpm_steps=250, shared_noise=True),
    )
