"""The authors' DDPM (arXiv 2209.12104), as their released code sets it.

512 x 512 slices, MR and CT scaled slice by slice, noise prediction over 1000 steps, 26 M
parameters. The per-slice scaling of the CT uses the target's own range, so Hounsfield units can
only be approximated at inference; `configs/gold_atlas/ddpm.py` is what to train today.

  python launch/prepare.py --source=pairs --input=DIR --output=data --size=512,512
  python launch/train.py --config=configs/paper/ddpm.py --data=data --workdir=runs/paper_ddpm
  python launch/synthesize.py --workdir=runs/paper_ddpm --mr=FILE.nii.gz --output=out --sampler=ddpm

Cost: 26 M parameters, 1000 evaluations a slice and draw; meant for a GPU. The paper states
neither the number of training steps nor its hardware; 200,000 steps is our choice.
"""

from sde_ct.config import (
    DataConfig,
    DiffusionConfig,
    Experiment,
    NetworkConfig,
    SamplingConfig,
    SDEConfig,
    TrainingConfig,
)


def get_config() -> Experiment:
    return Experiment(
        method="diffusion",
        # beta/1000 runs from 1e-4 to 0.02 over the 1000 steps.
        sde=SDEConfig(kind="vp", beta_min=0.1, beta_max=20.0),
        network=NetworkConfig(channels=64, multipliers=(1, 2, 2, 4, 4), blocks=2, noise_scale=30.0),
        diffusion=DiffusionConfig(form="epsilon", times="discrete", steps=1000),
        data=DataConfig(batch_size=4, intensity="slice_minmax", flip=True, rotate90=True),
        training=TrainingConfig(steps=200_000, learning_rate=1e-4, clip=1.0, ema=0.9999),
        sampling=SamplingConfig(ddpm_steps=1000, clip_denoised=True),
    )
