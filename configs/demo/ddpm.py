"""The demo's DDPM: variance-preserving diffusion on phantom pelves, 48 x 64 pixels.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/ddpm.py --data=out/data --workdir=out/ddpm
  python launch/synthesize.py --workdir=out/ddpm --output=out --sampler=ddpm \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about a minute on two CPU cores, compilation included. Expected on the demo's
held-out patients: DDPM MAE 69 HU, PSNR 28.8 dB, SSIM 0.78; DDPM-M 55 HU,
30.4 dB, 0.84.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.sampling.ddpm_steps = 28
    return config
