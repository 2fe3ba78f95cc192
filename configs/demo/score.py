"""The demo's score model: variance-exploding SDE, sampled by EM, PC and ODE.

  python launch/prepare.py --source=phantom --input=out/phantoms --output=out/data --patients=40
  python launch/train.py --config=configs/demo/score.py --data=out/data --workdir=out/score
  python launch/synthesize.py --workdir=out/score --output=out --sampler=ode \\
      --mr=out/phantoms/Task1/pelvis/1PA001/mr.nii.gz

Cost: about a minute on two CPU cores, compilation included. On the demo's held-out
patients, with `--config.data.deform=0`: EM MAE 74 HU, PSNR 28.5 dB, SSIM 0.77; EM-M 51 HU,
31.1 dB, 0.85.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.sde.kind, config.sde.sigma_max = "ve", 10.0
    config.sampling.em_steps, config.sampling.pc_steps = 46, 24
    # A loose tolerance, because ten draws of every slice must fit into minutes on two cores.
    config.sampling.ode_rtol = config.sampling.ode_atol = 0.1
    return config
