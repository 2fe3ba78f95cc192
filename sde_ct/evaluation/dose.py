"""Hand-over to dose engines, and the gamma index of the doses that come back.

No dose is computed here. One folder a case holds everything on one grid, the real CT's:

    CASE/ct.mha                   the real CT, HU
    CASE/sct.mha                  the synthetic CT, HU
    CASE/structures/BODY.mha      the body mask
    CASE/structures/<NAME>.mha    other structures, where there are some

matRad: `[ct, cst] = matRad_importPatient('CASE/sct.mha', {'CASE/structures'})`. pyRadPlan:
`pyRadPlan.io.load_binary_patient("CASE/sct.mha", "CASE/structures")`. Both take the
structures' names from the files, and BODY for the patient's outline.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.evaluation.cases import read_case, read_on_grid
from sde_ct.evaluation.matching import CaseFiles, volumes_in
from sde_ct.volumes.dicom.dose import read_rtdose
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.volume import Volume, canonical, left_posterior_superior, same_grid

NAME = "gamma.json"
BODY = "BODY"
CRITERIA = ((3.0, 3.0), (2.0, 2.0))  # % of the reference's maximum, mm
CUTOFF = 10.0  # % of the reference's maximum: lower doses are not judged
MOST = 2.0  # gamma above which the search stops


class Gamma(NamedTuple):
    """The gamma index of one criterion over the voxels above `CUTOFF`."""

    dose_percent: float
    distance_mm: float
    passed: float  # share of voxels with gamma of at most 1
    mean: float  # capped at `MOST`
    voxels: int


def export_case(
    folder: Path, ct: Volume, sct: Volume, mask: Volume, structures: Mapping[str, Volume] = {}
) -> None:
    """Write one case; see the module.

    Raises:
        InputError: the folder exists or volumes lie on different grids.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: choose another output or remove it first.")
    volumes = {"sct": sct, f"structures/{BODY}": mask}
    volumes |= {f"structures/{name}": structure for name, structure in structures.items()}
    for name, volume in volumes.items():
        if not same_grid(canonical(volume), canonical(ct)):
            raise InputError(f"{folder.name}: {name} lies on another grid than the CT: resample.")
    for name, volume in {"ct": ct, **volumes}.items():
        # matRad ignores the direction of the axes: they must be those of DICOM in all volumes.
        write_volume(folder / f"{name}.mha", left_posterior_superior(volume))


def structures_of(place: Path | None, case: str) -> dict[str, Path]:
    """The masks in `place`/`case`, by name; none where no place is given.

    Raises:
        InputError: the folder is missing, holds no volume, or one that is called `BODY`.
    """
    if place is None:
        return {}
    folder = place / case
    found = volumes_in(folder) if folder.is_dir() else {}
    if not found:
        raise InputError(f"{folder} holds no structures: put a mask for each there.")
    for name, path in found.items():
        if name.upper() == BODY:
            raise InputError(f"{path}: {BODY} is the mask's own name: give it another.")
    return found


def export_files(place: Path, cases: Sequence[tuple[CaseFiles, Mapping[str, Path]]]) -> None:
    """`export_case` of files on disk with their structures to `place`/CASE: of all, or of none."""
    made, stage = not place.exists(), place / f".partial-{os.getpid()}"
    try:
        for files, structures in cases:
            ct, sct, mask = read_case(files)
            masks = {
                name: read_on_grid(path, "mask", ct, files.reference)
                for name, path in structures.items()
            }
            export_case(stage / files.name, ct, sct, mask, masks)
        for files, _ in cases:
            (stage / files.name).rename(place / files.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made and place.exists() and not any(place.iterdir()):
            place.rmdir()


def gamma_of_files(reference: Path, evaluated: Path) -> list[Gamma]:
    """`gamma` of two dose grids on disk: RTDOSE, NIfTI or MetaImage, Gy."""
    if not find_spec("pymedphys"):
        raise InputError("--gamma: pymedphys is missing; pip install '.[dose]'.")
    return gamma(*(_read_dose(path) for path in (reference, evaluated)))


def _read_dose(path: Path) -> Volume:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of the dose.")
    return read_rtdose(path) if format_of(path) == "DICOM" else read_volume(path, "a.u.")


def gamma(reference: Volume, evaluated: Volume) -> list[Gamma]:
    """Global gamma (Low et al., Med. Phys. 25(5), 1998) for each of `CRITERIA`, by pymedphys.

    Args:
        reference: dose on the real CT, Gy.
        evaluated: dose on the synthetic CT, Gy; its grid may be another, its axes not.

    Raises:
        InputError: axes point elsewhere, or a dose is empty, negative or not finite.
    """
    import pymedphys

    pair = [canonical(dose) for dose in (reference, evaluated)]
    turns = [dose.affine[:3, :3] / dose.spacing for dose in pair]
    if not np.allclose(*turns, atol=1e-3):  # type: ignore[misc]
        raise InputError("The axes of the two dose grids point elsewhere: resample one of them.")
    for name, dose in zip(("reference", "evaluated"), pair, strict=True):
        if not np.isfinite(dose.array).all() or dose.array.min() < 0 or dose.array.max() <= 0:
            raise InputError(f"The {name} dose is empty, negative or not finite: give Gy.")
    grids = [_axes(dose, turns[0]) for dose in pair]
    arrays = [dose.array.astype(np.float64) for dose in pair]
    found = []
    for percent, distance in CRITERIA:
        index = pymedphys.gamma(
            grids[0], arrays[0], grids[1], arrays[1], percent, distance,
            lower_percent_dose_cutoff=CUTOFF, max_gamma=MOST,
        )  # fmt: skip
        judged = index[~np.isnan(index)]
        share, mean = float((judged <= 1).mean()), float(judged.mean())
        found.append(Gamma(percent, distance, share, mean, judged.size))
    return found


def record(found: Sequence[Gamma]) -> dict[str, Any]:
    """The content of `gamma.json`."""
    constants = {"cutoff_percent": CUTOFF, "normalisation": "global", "capped_at": MOST}
    return constants | {"criteria": [one._asdict() for one in found]}


def lines(found: Sequence[Gamma]) -> list[str]:
    """A sentence a criterion."""
    return [
        f"Gamma {g.dose_percent:g} % / {g.distance_mm:g} mm above {CUTOFF:g} % of the maximum: "
        f"{g.passed:.1%} of {g.voxels} voxels pass, mean {g.mean:.2f}."
        for g in found
    ]


def _axes(dose: Volume, turn: Float[np.ndarray, "3 3"]) -> tuple[Float[np.ndarray, " n"], ...]:
    """Millimetres along the grids' common axes."""
    start = turn.T @ dose.affine[:3, 3]
    steps = zip(start, dose.spacing, dose.array.shape, strict=True)
    return tuple(s + step * np.arange(n) for s, step, n in steps)
