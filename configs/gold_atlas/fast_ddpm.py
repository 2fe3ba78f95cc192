"""Fast-DDPM for real pelves: ten noise levels, in training and in sampling.

The levels are those of Jiang et al. (arXiv 2405.14802, "non-uniform"); the rest is as in `ddpm.py`.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/fast_ddpm.py --data=data --workdir=runs/fast
  python launch/synthesize.py --workdir=runs/fast --mr=FILE.nii.gz --output=out --sampler=ddpm

Cost: 26 M parameters, meant for one GPU. Its results are unknown: it was not run on Gold Atlas,
which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.diffusion.times = "listed"
    config.diffusion.listed = (0, 199, 399, 599, 699, 799, 849, 899, 949, 999)
    config.sampling.correlated_noise = True
    return config
