"""The demo's score model: variance-exploding SDE, sampled by EM, PC and ODE.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/score.py --data=out/data --workdir=out/score
  python launch/synthesize.py --workdir=out/score --output=out --sampler=ode \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about a minute on two CPU cores, compilation included. Expected on the demo's
held-out patients: MAE EM 76 HU, PSNR 28.3 dB, SSIM 0.76; EM-M 52 HU,
31.0 dB, 0.85.
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
        sde=SDEConfig(kind="ve", sigma_min=0.01, sigma_max=10.0),
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
        # Loose, because ten draws of every slice must fit into minutes on two cores.
        sampling=SamplingConfig(em_steps=46, pc_steps=24, ode_rtol=0.1, ode_atol=0.1),
    )
