"""Draws of whole volumes: layers between slices are added to the demo's default network.

The phantoms have thinner slices than the demo's. The residual network is trained for longer than in
the demo, because slices can agree on an outcome only if each draw shows one clearly.

  python launch/phantom.py --layout=synthrad2023 --output=out/thin/cohort --patients=2040 \\
      --shape=64,48,20 --spacing=6.25,6.25,4
  python launch/prepare.py --source=synthrad2023 --input=out/thin/cohort --output=out/thin/data \\
      --validation=0.02 --test=0
  python launch/train.py --config=configs/demo/residual.py --data=out/thin/data \\
      --workdir=out/thin/residual --config.sampling.correlated_noise \\
      --config.residual.denoiser_share=0.6 --config.diffusion.times=uniform \\
      --config.data.deform=1 --config.training.steps=40000 --config.training.validate_every=40000 \\
      --config.training.learning_rate=1e-3 --config.training.warmup=500 --config.training.ema=0.999
  python launch/phantom.py --layout=synthrad2023 --output=out/more/cohort --patients=1640 \\
      --seed=1 --shape=64,48,20 --spacing=6.25,6.25,4
  python launch/prepare.py --source=synthrad2023 --input=out/more/cohort --output=out/more/data \\
      --validation=0.025 --test=0
  python launch/train.py --config=configs/demo/joint.py --teacher=out/thin/residual \\
      --data=out/more/data --workdir=out/thin/joint
  python launch/synthesize.py --workdir=out/thin/joint --output=out/thin --sampler=dpm_sde \\
      --mr=out/thin/cohort/Task1/pelvis/1PA001/mr.nii.gz

The layers that relate slices need many phantoms, because each phantom shows only one of the two
outcomes of a region. With --data=out/thin/data they learn from the residual network's phantoms.

Cost: half an hour on one CPU core, after an hour for the residual network. docs/experiments.md
measures what the layers change.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("residual.py"))
    config.method = "joint"
    config.data.slab = 20  # all slices of these phantoms
    config.data.batch_size = 1
    config.data.deform = 1.0
    config.diffusion.times = "uniform"
    config.sampling.correlated_noise = True
    training = config.training
    # Validated only at the end: the loss of a few volumes does not show which weights are best.
    training.steps = training.validate_every = 6000
    training.warmup, training.ema = 100, 0.998
    return config
