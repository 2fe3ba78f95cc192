"""The smallest patients and recipes that still go the whole way."""

import dataclasses
import json
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
from sde_ct.config_record import to_dict
from sde_ct.data.prepared import Prepared
from sde_ct.lab.phantom.cohort import prepared_cohort
from sde_ct.methods import build_method
from sde_ct.training import loop
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import describe
from sde_ct.training.experiment import write_experiment
from sde_ct.training.state import fresh_state, initialised
from sde_ct.training.weights import NETWORK, network_of

PHANTOM: dict[str, Any] = {"shape": (24, 20, 6), "spacing": (16.0, 16.0, 16.0)}
SAMPLING = SamplingConfig(ddpm_steps=8, em_steps=12, pc_steps=12, ode_rtol=0.1, ode_atol=0.1)


def experiment(method: str = "diffusion", **training) -> Experiment:
    """A recipe of 24 steps for any method; diffusion is variance exploding."""
    slab = 3 if method == "joint" else 1
    schedule = {"steps": 24, "learning_rate": 1e-2, "warmup": 2, "clip": 1.0, "ema": 0.2}
    often = {"log_every": 4, "validate_every": 12, "checkpoint_every": 12}
    return Experiment(
        method=method,
        sde=SDEConfig(kind="ve", sigma_min=0.01, sigma_max=10.0),
        network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
        diffusion=DiffusionConfig(form="edm"),
        adversarial=AdversarialConfig(channels=8),
        data=DataConfig(batch_size=8, slab=slab),
        training=TrainingConfig(**schedule | often | training),
        sampling=dataclasses.replace(SAMPLING, correlated_noise=slab > 1),
    )


def prepared_phantoms(root: Path, patients: int = 5, seed: int = 0) -> Prepared:
    """Phantoms in `root/cohort`, prepared in `root/data`; the last one tests, one validates."""
    counts = {"train": patients - 2, "validation": 1, "test": 1}
    return prepared_cohort(root, counts, seed, **PHANTOM)


def write_recipe(config: Experiment, path: Path) -> Path:
    """A recipe file that gives `config`."""
    path.write_text(RECIPE.format(json.dumps(to_dict(config))))
    return path


RECIPE = """import json
from sde_ct.config_record import from_dict
def get_config():
    return from_dict(json.loads('{}'))
"""


def train(config: Experiment, data: Prepared, workdir: Path, *, devices: int = 4, **options) -> Any:
    """`loop.train` on the first few simulated devices, without a bar."""
    return loop.train(config, data, workdir, devices=jax.devices()[:devices], show=False, **options)


def initial_state(config: Experiment, data: Prepared) -> Any:
    """The training state before the first step."""
    return initialised(lambda: fresh_state(build_method(config), config, data.size))


def untrained(config: Experiment, data: Prepared, workdir: Path) -> Path:
    """A work directory with the checkpoint of step 0."""
    write_experiment(workdir, config, describe(config.data, data))
    state = initial_state(config, data)
    weights, progress = build_method(config).weights(state), {NETWORK: network_of(config)}
    Checkpoints(workdir).save(0, state, weights, progress)
    return workdir
