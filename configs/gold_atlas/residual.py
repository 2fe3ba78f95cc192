"""The default for real pelves: a regression for the mean, and a diffusion of the residual.

256 x 256 slices at 1.75 mm, bfloat16. Half of the updates train the regression, half the denoiser;
one checkpoint holds both, and `--sampler=mean` gives the regression's CT.

  python launch/prepare.py --source=pairs --input=DIR --output=data --spacing=1.75 --size=256
  python launch/train.py --config=configs/gold_atlas/residual.py --data=data --workdir=runs/residual
  python launch/synthesize.py --workdir=runs/residual --mr=FILE.nii.gz --output=out \\
      --sampler=dpm_sde

Cost: two networks of 26 M parameters; meant for one GPU. Its results are unknown: it was not run on
Gold Atlas, which is not ours to distribute.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "residual"
    # A bone that the mean lacks has a residual of 20 or more, in units of the regression's mean
    # error. Noise levels of 20 to 150 decide whether a draw shows the bone, and `lognormal` hardly
    # trains these levels.
    config.diffusion.times = "uniform"
    sampling = config.sampling
    sampling.ddpm_steps, sampling.em_steps, sampling.pc_steps = 250, 500, 250
    sampling.ode_rtol = sampling.ode_atol = 1e-3
    sampling.correlated_noise = True
    sampling.few_width = 2.0  # errors of whole regions make the residual wide at low frequencies
    return config
