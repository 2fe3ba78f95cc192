"""The demo's default: a regression for the mean, and a diffusion of the residual.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/residual.py --data=out/data --workdir=out/residual
  python launch/synthesize.py --workdir=out/residual --output=out --sampler=dpm_sde \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "residual"
    config.training.steps = config.training.validate_every = 1440
    config.residual.denoiser_share = 0.25
    config.diffusion.log_mean = -0.8
    config.sampling.ddpm_steps = 28
    return config
