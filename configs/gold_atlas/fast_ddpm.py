"""Fast-DDPM for real pelves: ten noise levels, in training and in sampling.

The settings of `ddpm.py` but for the levels (Jiang et al., arXiv 2405.14802, "non-uniform").

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/fast_ddpm.py --data=data --workdir=runs/fast
  python launch/synthesize.py --workdir=runs/fast --mr=FILE.nii.gz --output=out --sampler=ddpm

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
FAST = (0, 199, 399, 599, 699, 799, 849, 899, 949, 999)


def get_config() -> Experiment:
    return Experiment(
        method="diffusion",
        sde=SDEConfig(kind="vp", beta_min=0.1, beta_max=20.0),
        network=NETWORK,
        diffusion=DiffusionConfig(form="edm", times="listed", listed=FAST),
        data=DataConfig(batch_size=16, hu_low=-1000.0, hu_high=2000.0),
        training=TrainingConfig(
            steps=200_000, learning_rate=2e-4, warmup=1000, decay=True, clip=1.0, ema=0.9999
        ),
        sampling=SamplingConfig(shared_noise=True),
    )
