"""The GAN for real pelves: the same UNet as generator, and a patch discriminator.

The adversarial loss and the L1 loss have the weights of pix2pix.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/gan.py --data=data --workdir=runs/gan
  python launch/synthesize.py --workdir=runs/gan --mr=FILE.nii.gz --output=out --draws=1

Cost: 24 M parameters, meant for one GPU. Its results are unknown: it was not run on Gold Atlas,
which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "gan"
    config.training.steps = 100_000
    return config
