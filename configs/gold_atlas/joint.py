"""Draws of whole volumes of real pelves, in which neighbouring slices agree.

Layers that relate slices are added to the denoiser of a network that `residual.py` trained. Only
these layers are trained.

  python launch/train.py --config=configs/gold_atlas/joint.py --teacher=runs/residual \\
      --data=data --workdir=runs/joint
  python launch/synthesize.py --workdir=runs/joint --mr=FILE.nii.gz --output=out \\
      --sampler=dpm_sde

Cost: a training step takes 32 slices through a network of 26 M parameters, so use a GPU. Its
results are unknown: it was not run on Gold Atlas, which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("residual.py"))
    config.method = "joint"
    config.data.slab = 16
    config.data.batch_size = 2
    training = config.training
    # Validated only at the end: the loss of a few volumes does not show which weights are best.
    training.steps = training.validate_every = 20_000
    training.learning_rate, training.ema = 1e-3, 0.999
    return config
