"""Draws of the default for real pelves in one evaluation instead of twenty.

This is the student of a network that `residual.py` trained, with a quarter of that one's updates.
Each draw takes one evaluation, besides those of the regression.

  python launch/train.py --config=configs/gold_atlas/distil.py --teacher=runs/residual \\
      --data=data --workdir=runs/distilled
  python launch/synthesize.py --workdir=runs/distilled --mr=FILE.nii.gz --output=out

Cost: a network of 26 M parameters, and two draws of each slice in a step; meant for one GPU. Not
run on Gold Atlas, which is not ours to distribute; expect of it what you measure.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("residual.py"))
    config.method = "distilled"
    config.training.steps = 50_000
    config.training.learning_rate = 1e-4
    return config
