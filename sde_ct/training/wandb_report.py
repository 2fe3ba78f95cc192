"""Sends the figures of a run to Weights & Biases as well."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from sde_ct.config import Experiment
from sde_ct.config_record import to_dict
from sde_ct.errors import InputError
from sde_ct.training.experiment import RUN
from sde_ct.training.telemetry import Report


def wandb_report(project: str, workdir: Path, config: Experiment) -> Report:
    """A function that sends figures to W&B, but nothing that may name a patient, such as images.

    All starts of a work directory belong to one W&B run, which the first figure creates. Mode,
    account and server are set as usual for W&B (`WANDB_MODE=offline` sends nothing).

    Raises InputError if W&B is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise InputError("--wandb_project needs W&B: pip install 'sde-ct[wandb]'.") from None

    # This leaves out the terminal's output, the command, all paths, the installed packages, and the
    # machine with its name and load. `x_disable_meta` alone keeps the name of the host (0.31.0).
    private = wandb.Settings(
        console="off", disable_git=True, x_disable_meta=True, x_disable_stats=True,
        x_save_requirements=False, host="",
    )  # fmt: skip

    @functools.cache
    def run() -> Any:
        first = json.loads((Path(workdir) / RUN).read_text())["starts"][0]["time"]
        name = hashlib.sha256(f"{Path(workdir).resolve()} {first}".encode()).hexdigest()[:16]
        return wandb.init(
            project=project, id=name, resume="allow", dir=str(workdir), config=to_dict(config),
            save_code=False, settings=private,
        )  # fmt: skip

    return lambda step, figures: run().log(figures, step=step)
