"""Distils the default for real pelves: a draw takes one evaluation instead of twenty.

The evaluations of the regression, which all draws share, are not counted here. The student starts
from a network that `residual.py` trained, and has a quarter of its updates.

  python launch/train.py --config=configs/gold_atlas/distil.py --teacher=runs/residual \\
      --data=data --workdir=runs/distilled
  python launch/synthesize.py --workdir=runs/distilled --mr=FILE.nii.gz --output=out

Cost: a network of 26 M parameters, and two draws of each slice in a step; meant for one GPU. Its
results are unknown: it was not run on Gold Atlas, which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("residual.py"))
    config.method = "distilled"
    config.training.steps = 50_000
    config.training.learning_rate = 1e-4
    return config
