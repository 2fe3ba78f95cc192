"""The authors' score model (arXiv 2209.12104), as their released code sets it.

dx = 25^t dw: in the family of `VESDE`, sigma_min = 1/sqrt(2 ln 25) and sigma_max = 25 sigma_min.
The network's output divided by σ(t) is the score. The samplers use the raw weights, not a moving
average. They are Euler-Maruyama (1000 evaluations per slice), predictor-corrector with 10 Langevin
steps before each predictor step (11,000 evaluations; the authors count 12,000), and the
probability-flow ODE with tolerances of 1e-5.

  python launch/prepare.py --source=pairs --input=DIR --output=data --size=512,512
  python launch/train.py --config=configs/paper/score.py --data=data --workdir=runs/paper_score
  python launch/synthesize.py --workdir=runs/paper_score --mr=FILE.nii.gz --output=out --sampler=pc

Cost: 26 M parameters; meant for a GPU.
"""

from pathlib import Path

from sde_ct.config import DiffusionConfig, Experiment, SamplingConfig, SDEConfig, recipe


def get_config() -> Experiment:
    config = recipe(Path(__file__).with_name("base.py"))
    config.sde = SDEConfig(kind="ve", sigma_min=0.3941240079466144, sigma_max=9.85310019866536)
    config.diffusion = DiffusionConfig(form="score", times="uniform", time_min=1e-5)
    config.training.clip, config.training.ema = 0.0, 0.0
    config.sampling = SamplingConfig(
        em_steps=1000,
        pc_steps=1000,
        corrector_steps=10,
        snr=0.16,
        batch_mean_step=True,
        ode_rtol=1e-5,
        ode_atol=1e-5,
        ode_denoise=False,
    )
    return config
