"""The correction of a network's spread that was fitted for what is asked of it."""

from dataclasses import replace
from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.evaluation import recalibration
from sde_ct.evaluation.recalibration import Recalibration
from sde_ct.synthesis.synthesizer import SyntheticCT
from sde_ct.synthesis.trained import Trained

UNLIKE = (
    "The stated coverage is that of patients like those of the fit: this MR is unlike the "
    "training's, so that nothing is known of it."
)


def correction_for(
    workdir: Path, trained: Trained, sampler: str | None, draws: int
) -> Recalibration:
    """The correction beside a checkpoint.

    Raises:
      InputError: there is none, or it was fitted for another sampler, number of draws or step.
    """
    path = Path(workdir) / recalibration.NAME
    if trained.config.method != "diffusion":
        raise InputError(f"A {trained.config.method} has no spread: leave out --calibrated.")
    found = recalibration.read(path)
    for words, fitted, asked in (
        ("sampler", found.sampler, sampler),
        ("number of draws", found.draws, draws),
        ("step", found.step, trained.step if found.step is not None else None),
    ):
        if fitted != asked:
            raise InputError(
                f"{path} was fitted for another {words} ({fitted}, not {asked}): synthesize as it "
                "was fitted, or calibrate anew (launch/calibrate.py)."
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
        warnings=(*ct.warnings, UNLIKE) if ct.warnings else (),
    )
