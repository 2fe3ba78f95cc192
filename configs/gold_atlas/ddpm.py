"""Variance-preserving diffusion for real pelves: 256 x 256 slices at 1.75 mm, bfloat16.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/ddpm.py --data=data --workdir=runs/ddpm
  python launch/synthesize.py --workdir=runs/ddpm --mr=FILE.nii.gz --output=out --sampler=dpm_sde

Cost: 26 M parameters, meant for one GPU. Its results are unknown: it was not run on Gold Atlas,
which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.sampling.ddpm_steps, config.sampling.correlated_noise = 250, True
    return config
