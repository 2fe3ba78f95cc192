"""The weights of a work directory, read for synthesis or as the start of another training."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from sde_ct.config import Experiment
from sde_ct.config_record import differences, to_dict
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.methods.decomposition import has_draws
from sde_ct.models import along_z
from sde_ct.runtime import parallel, peers
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import read_experiment
from sde_ct.training.state import fresh_state

# Fields that decide what a network has learnt to do; those of training and sampling do not.
MEANING = ("method", "sde.", "network.", "diffusion.", "data.")
# Fields that decide the shapes of a method's weights.
SHAPE = ("network.", "data.neighbours", "data.contrasts")
# Parameters whose names begin like this are measured in validation and belong to no network.
MEASURED = (".scale", ".shape", ".patient_effect")
NETWORK = "network"  # the key of `network_of` in the progress of a checkpoint


class Weights(NamedTuple):
    """The sampling weights of one checkpoint."""

    config: Experiment
    data: dict[str, Any]  # the description of the training data
    params: Any
    step: int
    chosen: str  # "best" by validation loss, or "newest"


def choose(workdir: Path, checkpoint: str) -> tuple[int, str]:
    """The step of the "best" or "newest" checkpoint, and which of the two it is.

    Where no validation loss was measured, the best is the newest.

    Raises InputError if the folder is not a work directory, or holds no checkpoint.
    """
    read_experiment(workdir)
    checkpoints = Checkpoints(workdir)
    step = checkpoints.best if checkpoint == "best" else checkpoints.latest
    if step is None:
        raise InputError(f"{workdir} holds no checkpoint yet: train first.")
    validated = checkpoints.validation_loss(step) < math.inf
    return step, "best" if checkpoint == "best" and validated else "newest"


def summary(workdir: Path) -> str:
    """A sentence on which checkpoint is the newest and which one synthesis uses.

    Raises InputError like `choose`.
    """
    checkpoints, (step, chosen) = Checkpoints(workdir), choose(workdir, "best")
    why = "the newest"
    if chosen == "best":
        why = f"the best by validation loss ({checkpoints.validation_loss(step):.4g})"
    return (
        f"{workdir}: trained to step {checkpoints.latest}. "
        f"Synthesis takes the checkpoint of step {step}, {why}."
    )


def read_weights(workdir: Path, step: int, chosen: str, *, validated: bool = True) -> Weights:
    """The sampling weights of a step that `choose` has returned.

    Without `validated` they are not adjusted by a validation, so that a training can start from
    them.
    """
    config, data = read_experiment(workdir)
    method, size = build_method(config), tuple(data["size"])
    checkpoints, found = Checkpoints(workdir), None
    if checkpoints.progress(step).get(NETWORK) == network_of(config):
        found = checkpoints.weights(step)
    if found is not None:
        params, stored = method.params(**found[0]), found[1]
    else:  # `restore` reads a checkpoint of an earlier version, and refuses one of another network.
        state, stored = checkpoints.restore(lambda: fresh_state(method, config, size), step)
        params = parallel.seldom(method.weights)(state)
    if validated and (losses := stored.get("validation")):
        params = method.validated(params, losses)
    return Weights(config, data, params, step, chosen)


def network_of(config: Experiment) -> str:
    """A hash of all that decides the names and shapes of the weights."""
    record = to_dict(config)
    data = [record["data"][name] for name in ("neighbours", "contrasts")]
    between = [along_z.NARROW, along_z.LEAST, along_z.REACH] if config.data.slab > 1 else []
    text = json.dumps([record["method"], record["network"], data, *between])
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(params: Any) -> str:
    """A hash of names, types, shapes and values of all weights, hex."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_init(init: Path, workdir: Path, config: Experiment, size: tuple[int, int]) -> None:
    """Raise InputError unless `workdir` has started, or can start, from the weights of `init`.

    A training continues from its own checkpoint if it has one, so `init` need not exist any longer.
    """
    checkpoints = Checkpoints(workdir)
    if saved := [p for step in checkpoints.steps if (p := checkpoints.progress(step))]:
        began = saved[-1].get("init")
        if began is None:
            raise InputError(
                f"{workdir} did not start from other weights: leave out --init and --teacher, or "
                "give another --workdir."
            )
        if began["workdir"] != str(Path(init).resolve()):
            raise InputError(
                f"{workdir} started from the weights of {began['workdir']}, not of {init}: leave "
                "out --init and --teacher, or give another --workdir."
            )
        return
    if Path(init).resolve() == Path(workdir).resolve():
        raise InputError(
            f"{init}, given as --init or --teacher, is the --workdir: give the folder of another "
            "training."
        )
    choose(init, "best")
    theirs, data = read_experiment(init)
    given, wanted = _shapes(theirs, tuple(data["size"])), _shapes(config, size)
    if theirs.method != config.method and build_method(config).needs_teacher:
        # A method may add weights to those of its teacher.
        _check_teacher(init, theirs, config, given.items() <= wanted.items())
    elif given != wanted:
        fields = _differences(theirs, config, "method", *SHAPE)
        raise InputError(
            f"{init}, given as --init or --teacher, holds the weights of a network of another "
            f"shape ({'; '.join(fields)}): give the same values here, or leave the flag out."
        )


def _check_teacher(init: Path, theirs: Experiment, config: Experiment, has_shape: bool) -> None:
    """Raise InputError unless the network of `init` can be the teacher of `config`.

    `has_shape` says whether its weights have the shapes that `config` needs.
    """
    fields = _differences(theirs, config, *SHAPE)
    if build_method(theirs).needs_teacher or not (has_shape or fields):
        raise InputError(
            f"--teacher={init} holds a network of the method {theirs.method!r}: give the work "
            "directory of a trained residual network."
        )
    if not has_shape:
        raise InputError(
            f"--teacher={init} holds the weights of a network of another shape "
            f"({'; '.join(fields)}): give the same values here, or another teacher."
        )


def require_teacher(init: Path | None, workdir: Path, config: Experiment) -> None:
    """Raise InputError if a training that has to begin with a teacher's weights lacks them."""
    if init is None and Checkpoints(workdir).latest is None and build_method(config).needs_teacher:
        raise InputError(
            f"config.method={config.method!r} learns from a trained residual network: give its "
            "work directory as --teacher."
        )


def starting_weights(
    init: Path, config: Experiment, size: tuple[int, int]
) -> tuple[Any, dict[str, Any]]:
    """The averaged weights of the best checkpoint of `init`, and a record of their origin.

    Every process of a run must call this, and all of them read the same checkpoint.
    """
    with peers.agreed():
        step, chosen = choose(init, "best")
    step = peers.from_primary(step) or 0  # the other training may be adding checkpoints
    with peers.agreed():
        # A method that compares no draws keeps the scale that its teacher has for synthesis.
        compares = build_method(config).comparison is not None
        weights = read_weights(init, step, chosen, validated=not compares)
        if build_method(config).needs_teacher and not has_draws(weights.params):
            raise InputError(
                f"--teacher={init}: its denoiser has not been trained yet at step {step}: "
                "train it longer."
            )
    if peers.is_primary():
        fields = _differences(weights.config, config, *MEANING)
        differs = f" Its recipe differs from this one: {'; '.join(fields)}." if fields else ""
        logging.warning(
            "The training starts from the %s weights of %s, of step %d.%s",
            chosen, init, step, differs,
        )  # fmt: skip
    source = {"workdir": str(Path(init).resolve()), "step": step}
    return weights.params, source | {"weights_sha256": sha256(weights.params)}


def _shapes(config: Experiment, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight by its name, apart from those `MEASURED`."""
    method = build_method(config)
    params = jax.eval_shape(lambda: method.weights(fresh_state(method, config, size)))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    shapes = {jax.tree_util.keystr(path): leaf.shape for path, leaf in leaves}
    return {name: shape for name, shape in shapes.items() if not name.startswith(MEASURED)}


def _differences(theirs: Experiment, config: Experiment, *fields: str) -> list[str]:
    """The differences in the fields whose names begin with one of `fields`."""
    return [field for field in differences(theirs, config) if field.startswith(fields)]
