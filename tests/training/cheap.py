"""The cheapest training that is still one: a CNN on one device, no look at a validation set."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from sde_ct.config import Experiment
from sde_ct.data.prepared import Prepared

from .. import tiny

OFTEN = {"steps": 8, "log_every": 1, "validate_every": 100, "checkpoint_every": 2}


def experiment(**training) -> Experiment:
    return tiny.experiment("cnn", **OFTEN | training)


def without_validation(prepared: Prepared) -> Prepared:
    return dataclasses.replace(prepared, split={**prepared.split, "validation": ()})


def train(config: Experiment, prepared: Prepared, workdir: Path, **options):
    return tiny.train(config, without_validation(prepared), workdir, devices=1, **options)


def saved_state(workdir: Path, step: int) -> dict:
    """A checkpoint's state as plain nested dictionaries of arrays."""
    folder = Path(workdir).absolute() / "checkpoints" / str(step) / "state"
    return ocp.StandardCheckpointer().restore(folder)


def vector(params) -> np.ndarray:
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
