"""Variance-exploding score model for real pelves: 256 x 256 slices at 1.75 mm, bfloat16.

The network and the training are those of `ddpm.py`. All samplers can draw from it.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/score.py --data=data --workdir=runs/score
  python launch/synthesize.py --workdir=runs/score --mr=FILE.nii.gz --output=out --sampler=dpm_sde

Cost: 26 M parameters, meant for one GPU. Its results are unknown: it was not run on Gold Atlas,
which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.sde.kind = "ve"
    config.sampling.em_steps, config.sampling.pc_steps = 500, 250
    config.sampling.ode_rtol = config.sampling.ode_atol = 1e-3
    config.sampling.correlated_noise = True
    return config
