"""The correction of a network's spread that was fitted for what is asked of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sde_ct.config import to_dict
from sde_ct.errors import InputError
from sde_ct.synthesis.sidecar import differences
from sde_ct.synthesis.synthesizer import SyntheticCT
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.recalibration import Recalibration

UNLIKE = (
    "The stated coverage is that of patients like those of the fit; where an MR is unlike the "
    "training's, nothing is known of it."
)


def network(trained: Trained) -> dict[str, Any]:
    """What a correction belongs to: plain JSON values of the weights and how they are sampled."""
    return {
        "step": trained.step,
        "weights_sha256": trained.sha256(),
        "sampling": to_dict(trained.config)["sampling"],
    }


def correction_for(
    workdir: Path, trained: Trained, sampler: str | None, draws: int
) -> Recalibration:
    """The correction beside a checkpoint.

    Raises:
      InputError: there is none, or it was fitted for another sampler, number of draws, network or
        way to sample it.
    """
    path = Path(workdir) / recalibration.NAME
    if trained.config.method != "diffusion":
        raise InputError(f"A {trained.config.method} has no spread: leave out --calibrated.")
    found = recalibration.read(path)
    changed = differences(
        {"sampler": found.sampler, "draws": found.draws, **found.network},
        {"sampler": sampler, "draws": draws, **network(trained)},
    )
    if changed:
        raise InputError(
            f"{path} was fitted for another request ({changed[0]}): synthesize as it was fitted, "
            "or remove it and calibrate anew (launch/calibrate.py)."
        )
    return found


def apply(correction: Recalibration, ct: SyntheticCT) -> SyntheticCT:
    """The CT with its spread corrected and with the bounds of its intervals.

    Raises:
      InputError: a single draw, which has no spread.
    """
    if ct.spread is None:
        raise InputError("A single draw has no spread to correct: give 2 draws or more.")
    spread, lower, upper = correction.apply(ct.mean.array, ct.spread.array)
    return replace(
        ct,
        spread=ct.spread.with_array(spread),
        lower=ct.mean.with_array(lower),
        upper=ct.mean.with_array(upper),
        unseen=(*ct.unseen, UNLIKE) if ct.unseen else (),
    )
