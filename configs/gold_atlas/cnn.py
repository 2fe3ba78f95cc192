"""The CNN on the same backbone: what one evaluation a slice gives.

Least squares, so that it estimates what the mean of many draws tends to.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/cnn.py --data=data --workdir=runs/cnn
  python launch/synthesize.py --workdir=runs/cnn --mr=FILE.nii.gz --output=out --draws=1

Cost: 24 M parameters, meant for one GPU. Not run on Gold Atlas, which is not ours to distribute;
expect of it what you measure.
"""

from sde_ct.config import (
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
        method="cnn",
        network=NETWORK,
        data=DataConfig(batch_size=16, hu_low=-1000.0, hu_high=2000.0),
        training=TrainingConfig(
            steps=100_000, learning_rate=2e-4, warmup=1000, decay=True, clip=1.0, ema=0.9999
        ),
    )
