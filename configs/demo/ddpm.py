"""The demo's DDPM: variance-preserving diffusion on phantom pelves, 48 x 64 pixels.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/ddpm.py --data=out/data --workdir=out/ddpm
  python launch/synthesize.py --workdir=out/ddpm --output=out --sampler=ddpm \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about a minute on two CPU cores, compilation included. Expected on the demo's
held-out patients: MAE DDPM 68 HU, PSNR 29.1 dB, SSIM 0.79; DDPM-M 54 HU,
30.7 dB, 0.85.
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

# 48 x 64 pixels become 24 x 32 positions of 2 x 2 pixels: a quarter of the work of a plain UNet.
NETWORK = NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8)


def get_config() -> Experiment:
    return Experiment(
        method="diffusion",
        sde=SDEConfig(kind="vp", beta_min=0.1, beta_max=20.0),
        network=NETWORK,
        diffusion=DiffusionConfig(form="edm", times="lognormal"),
        data=DataConfig(batch_size=4),
        training=TrainingConfig(
            steps=720,
            learning_rate=2e-3,
            warmup=50,
            decay=True,
            clip=1.0,
            ema=0.99,
            validate_every=720,
        ),
        sampling=SamplingConfig(ddpm_steps=28),
    )
