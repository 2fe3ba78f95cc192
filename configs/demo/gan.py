"""The demo's GAN: the same backbone as generator, a patch discriminator and L1.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/gan.py --data=out/data --workdir=out/gan
  python launch/synthesize.py --workdir=out/gan --output=out --draws=1 \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: half a minute to one on two CPU cores, compilation included. Expected on the demo's
held-out patients: MAE GAN 64 HU, PSNR 29.3 dB, SSIM 0.80.
"""

from sde_ct.config import (
    AdversarialConfig,
    DataConfig,
    Experiment,
    NetworkConfig,
    TrainingConfig,
)

# 48 x 64 pixels become 24 x 32 positions of 2 x 2 pixels: a quarter of the work of a plain UNet.
NETWORK = NetworkConfig(channels=32, multipliers=(1, 2, 2), blocks=1, patch=2, groups=8)


def get_config() -> Experiment:
    return Experiment(
        method="gan",
        network=NETWORK,
        adversarial=AdversarialConfig(l1_weight=100.0, channels=32, learning_rate=2e-4),
        data=DataConfig(batch_size=4),
        training=TrainingConfig(
            steps=200,
            learning_rate=2e-3,
            warmup=50,
            decay=True,
            clip=1.0,
            ema=0.99,
            validate_every=200,
        ),
    )
