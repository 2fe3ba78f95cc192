"""The smallest patients and recipes that still go the whole way."""

from pathlib import Path
from typing import Any

import jax

from sde_ct.config import (
    AdversarialConfig,
    DataConfig,
    DiffusionConfig,
    Experiment,
    NetworkConfig,
    SamplingConfig,
    SDEConfig,
    TrainingConfig,
)
from sde_ct.data.cohorts import phantom_cases
from sde_ct.data.prepare import prepare
from sde_ct.data.prepared import Prepared
from sde_ct.training import loop

PHANTOM = {"shape": (24, 20, 6), "spacing": (16.0, 16.0, 16.0)}
SAMPLING = SamplingConfig(ddpm_steps=8, em_steps=8, pc_steps=6, ode_rtol=0.1, ode_atol=0.1)


def experiment(method: str = "diffusion", **training) -> Experiment:
    """A recipe of 24 steps for any method; diffusion is variance exploding."""
    schedule = {"steps": 24, "learning_rate": 1e-2, "warmup": 2, "clip": 1.0, "ema": 0.8}
    often = {"log_every": 4, "validate_every": 12, "checkpoint_every": 12}
    return Experiment(
        method=method,
        sde=SDEConfig(kind="ve", sigma_min=0.01, sigma_max=10.0),
        network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
        diffusion=DiffusionConfig(form="edm"),
        adversarial=AdversarialConfig(channels=8),
        data=DataConfig(batch_size=8),
        training=TrainingConfig(**schedule | often | training),
        sampling=SAMPLING,
    )


def prepared_phantoms(root: Path, patients: int = 5, seed: int = 0) -> Prepared:
    """Phantoms in `root/cohort`, prepared in `root/data`; the last one tests, one validates."""
    cases = phantom_cases(root / "cohort", patients, seed, **PHANTOM)
    names = [case.id for case in cases]
    split = {"train": names[:-2], "validation": names[-2:-1], "test": names[-1:]}
    return prepare(cases, root / "data", source="phantom", split=split)


def train(config: Experiment, data: Prepared, workdir: Path, *, devices: int = 1, **options) -> Any:
    """`loop.train` on the first few simulated devices, without a bar."""
    return loop.train(config, data, workdir, devices=jax.devices()[:devices], show=False, **options)
