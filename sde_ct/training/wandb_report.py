"""The run's figures on Weights & Biases, beside those in the work directory."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from sde_ct.config import Experiment, to_dict
from sde_ct.errors import InputError
from sde_ct.training.experiment import RUN
from sde_ct.training.telemetry import Report


def wandb_report(project: str, workdir: Path, config: Experiment) -> Report:
    """Sends figures only: no image, no warning, no path, since those may tell of a patient.

    Every start of one work directory goes on in one W&B run, which is made with the first figure.
    Mode, account and server are W&B's own (`WANDB_MODE=offline` sends nothing).

    Raises InputError where W&B is not installed.
    """
    try:
        import wandb
    except ImportError:
        raise InputError("--wandb_project needs W&B: pip install 'sde-ct[wandb]'.") from None

    # Neither the terminal's lines nor the command, the folders or the machine.
    private = wandb.Settings(console="off", disable_git=True, x_disable_meta=True)

    @functools.cache
    def run() -> Any:
        first = json.loads((Path(workdir) / RUN).read_text())["starts"][0]["time"]
        name = hashlib.sha256(f"{Path(workdir).resolve()} {first}".encode()).hexdigest()[:16]
        return wandb.init(
            project=project, id=name, resume="allow", dir=str(workdir), config=to_dict(config),
            save_code=False, settings=private,
        )  # fmt: skip

    return lambda step, figures: run().log(figures, step=step)
