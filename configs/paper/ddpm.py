"""The authors' DDPM (arXiv 2209.12104), as their released code sets it.

512 x 512 slices, MR and CT scaled slice by slice, noise prediction over 1000 steps. The per-slice
scaling of the CT uses the target's own range, so Hounsfield units can only be approximated at
inference. For new work, train `configs/gold_atlas/ddpm.py` instead.

  python launch/prepare.py --source=pairs --input=DIR --output=data --size=512,512
  python launch/train.py --config=configs/paper/ddpm.py --data=data --workdir=runs/paper_ddpm
  python launch/synthesize.py --workdir=runs/paper_ddpm --mr=FILE.nii.gz --output=out --sampler=ddpm

Cost: 26 M parameters, 1000 evaluations per slice and draw; meant for a GPU.
"""

from pathlib import Path

from sde_ct.config import Experiment, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    # The default SDE: beta/1000 runs from 1e-4 to 0.02 over the 1000 steps.
    config.diffusion.form, config.diffusion.times = "epsilon", "discrete"
    config.training.clip, config.training.ema = 1.0, 0.9999
    config.sampling.ddpm_steps, config.sampling.clip_denoised = 1000, True
    return config
