"""The CNN for real pelves: the same UNet, with one evaluation per slice.

It is trained by least squares, so it estimates the mean of many draws.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/cnn.py --data=data --workdir=runs/cnn
  python launch/synthesize.py --workdir=runs/cnn --mr=FILE.nii.gz --output=out --draws=1

Cost: 24 M parameters, meant for one GPU. Its results are unknown: it was not run on Gold Atlas,
which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "cnn"
    config.training.steps = 100_000
    return config
