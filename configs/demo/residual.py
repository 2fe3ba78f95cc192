"""The demo's default: a regression for the mean, and a diffusion of the residual.

The control is `cnn.py`, which has as many updates as this recipe and `distil.py` together.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/residual.py --data=out/data --workdir=out/residual
  python launch/synthesize.py --workdir=out/residual --output=out --sampler=dpm_sde \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about two minutes on two CPU cores, compilation included. Expected on the demo's
held-out patients: Mean MAE 40 HU, PSNR 33.2 dB, SSIM 0.91; DDPM-M 42 HU, 32.6 dB, 0.90.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.method = "residual"
    config.training.steps = config.training.validate_every = 1440
    config.residual.denoiser_share = 0.35
    config.diffusion.log_mean = -0.5  # for few updates; see docs/training.md
    sampling = config.sampling
    sampling.ddpm_steps, sampling.em_steps, sampling.pc_steps = 28, 52, 27
    sampling.few_width = 2.0  # errors of whole regions make the residual wide at low frequencies
    # A loose tolerance, because ten draws of every slice must fit into minutes on two cores.
    sampling.ode_rtol = sampling.ode_atol = 0.1
    return config
