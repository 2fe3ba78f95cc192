"""Read and apply the correction of a network's spread that launch/calibrate.py fitted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sde_ct.config import SamplingConfig
from sde_ct.config_record import from_dict, to_dict
from sde_ct.errors import InputError
from sde_ct.synthesis.request import Request
from sde_ct.synthesis.sidecar import differences
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.range_bounds import RangeBounds
from sde_ct.uncertainty.recalibration import Recalibration
from sde_ct.uncertainty.structure_bounds import StructureBounds

UNLIKE = (
    "The stated coverage holds for patients like those of the fit. It is unknown for an MR that "
    "differs from those of the training."
)


def network(trained: Trained) -> dict[str, Any]:
    """The weights and the sampling options for which a correction holds, as plain JSON values."""
    return {**trained.identity(), "sampling": to_dict(trained.config)["sampling"]}


def read_calibration(path: Path) -> Recalibration:
    """The correction in a file. Raises InputError if the file is missing or damaged."""
    fitted = recalibration.read(path)
    try:
        if fitted.path_lengths:
            RangeBounds.from_json(fitted.path_lengths)
        if fitted.structures:
            StructureBounds.from_json(fitted.structures)
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): remove it and calibrate again.") from error
    return fitted


def correction_for(
    request: Request, networks: Sequence[Trained], draws: int
) -> Recalibration | None:
    """The correction for a request; None if the request asks for none.

    Raises InputError if the correction is missing or does not fit the request.
    """
    if not request.calibrated:
        return None
    if (count := len(networks)) > 1:
        raise InputError(f"--calibrated takes one network, not {count}: leave it out.")
    for flag in ("evaluations", "sde"):
        if getattr(request, flag) is not None:
            raise InputError(f"--calibrated needs the recipe's sampling: leave out --{flag}.")
    trained, sampler = networks[0], request.sampler
    path = Path(request.workdirs[0]) / recalibration.NAME
    if not trained.draws_differ(sampler):
        what = f"The sampler {sampler!r}" if sampler else f"A {trained.config.method}"
        raise InputError(f"{what} has no spread: leave out --calibrated.")
    fitted = read_calibration(path)
    stored = fitted.network
    if sampling := stored.get("sampling"):  # files of earlier versions lack later fields
        try:
            stored = stored | {"sampling": vars(from_dict(sampling, SamplingConfig))}
        except InputError as error:
            raise InputError(f"{path}: {error} Remove it and calibrate again.") from None
    changed = differences(
        {"sampler": fitted.sampler, "draws": fitted.draws, **stored},
        {"sampler": sampler, "draws": draws, **network(trained)},
    )
    if changed:
        raise InputError(
            f"{path} was fitted with other settings ({changed[0]}): synthesize with the fitted "
            "settings, or remove the file and calibrate again (launch/calibrate.py)."
        )
    return fitted


def apply(correction: Recalibration, ct: SyntheticCT) -> SyntheticCT:
    """The CT with corrected spread and with bounds. Raises InputError if it has no spread."""
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
