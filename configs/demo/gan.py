"""The demo's GAN: the UNet as generator, a patch discriminator and an L1 loss.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/gan.py --data=out/data --workdir=out/gan
  python launch/synthesize.py --workdir=out/gan --output=out --draws=1 \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about a minute on two CPU cores, compilation included. Expected on the demo's
held-out patients: MAE 44 HU, PSNR 31.7 dB, SSIM 0.89.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "gan"
    config.adversarial.channels = 32
    return config
