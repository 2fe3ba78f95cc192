"""The GAN on the same backbone: patch discriminator and L1.

pix2pix's weights on the two losses.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/gan.py --data=data --workdir=runs/gan
  python launch/synthesize.py --workdir=runs/gan --mr=FILE.nii.gz --output=out --draws=1

Cost: 24 M parameters, meant for one GPU. Not run on Gold Atlas, which is not ours to distribute;
expect of it what you measure.
"""

from sde_ct.config import (
    AdversarialConfig,
    DataConfig,
    Experiment,
    NetworkConfig,
    TrainingConfig,
)

NETWORK = NetworkConfig(
    channels=64, multipliers=(1, 2, 4, 4), blocks=2, attention=(3,), dtype="bfloat16"
)


def get_config() -> Experiment:
    return Experiment(
        method="gan",
        network=NETWORK,
        adversarial=AdversarialConfig(l1_weight=100.0, channels=64, learning_rate=2e-4),
        data=DataConfig(batch_size=16, hu_low=-1000.0, hu_high=2000.0),
        training=TrainingConfig(
            steps=100_000, learning_rate=2e-4, warmup=1000, decay=True, clip=1.0, ema=0.9999
        ),
    )
