"""Export to dose engines, and the gamma index of the doses that they compute.

Each case has one folder, with everything on the grid of the real CT:

    CASE/ct.mha                   the real CT, HU
    CASE/sct.mha                  the synthetic CT, HU
    CASE/structures/BODY.mha      the body mask
    CASE/structures/<NAME>.mha    other structures, if there are any

matRad reads a case by `[ct, cst] = matRad_importPatient('CASE/sct.mha', {'CASE/structures'})`, and
pyRadPlan by `pyRadPlan.io.load_binary_patient("CASE/sct.mha", "CASE/structures")`. Both take the
names of structures from the file names, and use BODY as the patient's outline. pyRadPlan's dialog
for single images guesses the content of a file from its data type. CTs are stored as int16 and
structures as uint8, so that the guess is right. A spread is not exported, because it would be
mistaken for a CT, structures or a dose.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.cases import read_case
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.volumes.dicom.dose import read_rtdose
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.structures import BODY, Structure, find_structures, read_masks
from sde_ct.volumes.volume import Volume, canonical, left_posterior_superior, same_grid

NAME = "gamma.json"
CRITERIA = ((3.0, 3.0), (2.0, 2.0))  # % of the reference's maximum, mm
CUTOFF = 10.0  # % of the reference's maximum; lower doses do not count
MOST = 2.0  # the search for gamma stops at this value


def export_case(
    folder: Path, ct: Volume, sct: Volume, mask: Volume, structures: Mapping[str, Volume] = {}
) -> None:
    """Write one case in the layout of the module's docstring.

    Raises:
        InputError: the folder exists or volumes lie on different grids.
    """
    if folder.exists():
        raise InputError(f"{folder} exists: choose another output or remove it first.")
    volumes = {"ct": ct, "sct": sct, f"structures/{BODY}": mask}
    volumes |= {f"structures/{name}": structure for name, structure in structures.items()}
    for name, volume in volumes.items():
        if not same_grid(canonical(volume), canonical(ct)):
            raise InputError(f"{folder.name}: {name} lies on another grid than ct: resample it.")
    for name, volume in volumes.items():
        # matRad ignores the direction of the axes, so all volumes must have the axes of DICOM.
        write_volume(folder / f"{name}.mha", left_posterior_superior(volume))


Export = tuple[CaseFiles, dict[str, Structure]]  # the files of a case, and its structures by name


def plan_exports(
    place: Path, structures: Path | None, cases: Sequence[CaseFiles]
) -> tuple[dict[str, Export], list[str]]:
    """Check all exports before anything is evaluated.

    Returns the files and structures of each case, and notes on omitted structures.

    Args:
        structures: a folder that holds a folder of masks and RTSTRUCT files for every case; None
            for no structures.

    Raises:
        InputError: `place` is a file, a case was exported before, or its structures cannot be used
            (see `find_structures`).
    """
    if place.exists() and not place.is_dir():
        raise InputError(f"{place} is a file: choose another --export-dose.")
    exports: dict[str, Export] = {}
    left_out: list[str] = []
    for case in cases:
        if (place / case.name).exists():
            raise InputError(f"{place / case.name} exists: choose another --export-dose.")
        masks: dict[str, Structure] = {}
        if structures:
            masks, without = find_structures(structures / case.name, case.reference)
            left_out += without
        exports[case.name] = case, masks
    # Several methods share the structures, so notes repeat.
    return exports, list(dict.fromkeys(left_out))


def export_files(place: Path, cases: Sequence[Export]) -> list[str]:
    """Read the cases and export them to `place`/CASE, either all of them or none.

    Returns:
        The ROIs without a mask on the grid of their CT, each with the reason.
    """
    made, stage = not place.exists(), place / f".partial-{os.getpid()}"
    left_out: list[str] = []
    try:
        for files, structures in cases:
            ct, sct, mask = read_case(files)
            masks, without = read_masks(structures, ct, files.reference)
            left_out += without
            export_case(stage / files.name, ct, sct, mask, masks)
        for files, _ in cases:
            (stage / files.name).rename(place / files.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if made and place.exists() and not any(place.iterdir()):
            place.rmdir()
    return left_out


class Gamma(NamedTuple):
    """The gamma index of one criterion over the voxels above `CUTOFF`."""

    dose_percent: float
    distance_mm: float
    passed: float  # share of voxels with gamma of at most 1
    mean: float  # mean gamma, capped at `MOST`
    voxels: int


def gamma_of_files(paths: Sequence[Path]) -> list[Gamma]:
    """`gamma` of a reference and an evaluated dose (Gy) in RTDOSE, NIfTI or MetaImage files."""
    if len(paths) != 2:
        raise InputError("--gamma: give two dose grids, REFERENCE,EVALUATED.")
    if not find_spec("pymedphys"):
        raise InputError("--gamma: pymedphys is missing; pip install '.[dose]'.")
    return gamma(*map(_read_dose, paths))


def _read_dose(path: Path) -> Volume:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of the dose.")
    return read_rtdose(path) if format_of(path) == "DICOM" else read_volume(path, "a.u.")


def gamma(reference: Volume, evaluated: Volume) -> list[Gamma]:
    """Global gamma (Low et al., Med. Phys. 25(5), 1998) for each of `CRITERIA`, by pymedphys.

    Args:
        reference: dose on the real CT, Gy.
        evaluated: dose on the synthetic CT, Gy, on any grid with the same directions of the axes.

    Raises:
        InputError: the axes differ in direction, or a dose is 0 everywhere, negative somewhere or
            not finite.
    """
    import pymedphys

    pair = [canonical(dose) for dose in (reference, evaluated)]
    first, second = (dose.affine[:3, :3] / dose.spacing for dose in pair)
    if not np.allclose(first, second, atol=1e-3):
        raise InputError("The axes of the two dose grids differ in direction: resample one dose.")
    grids: list[Any] = []
    for name, dose in zip(("reference", "evaluated"), pair, strict=True):
        if not np.isfinite(dose.array).all() or dose.array.min() < 0 or dose.array.max() <= 0:
            raise InputError(
                f"The {name} dose is empty, negative or not finite: give a dose in Gy."
            )
        steps = zip(first.T @ dose.affine[:3, 3], dose.spacing, dose.array.shape, strict=True)
        axes = tuple(start + step * np.arange(n) for start, step, n in steps)  # mm
        grids += [axes, dose.array.astype(np.float64)]
    results = []
    for percent, distance in CRITERIA:
        limits = {"lower_percent_dose_cutoff": CUTOFF, "max_gamma": MOST}
        index = pymedphys.gamma(*grids, percent, distance, **limits)
        index = index[~np.isnan(index)]
        passed, mean = float((index <= 1).mean()), float(index.mean())
        results.append(Gamma(percent, distance, passed, mean, index.size))
    return results


def record(results: Sequence[Gamma]) -> dict[str, Any]:
    """The content of `gamma.json`."""
    constants = {"cutoff_percent": CUTOFF, "normalisation": "global", "capped_at": MOST}
    return constants | {"criteria": [one._asdict() for one in results]}


def lines(results: Sequence[Gamma]) -> list[str]:
    """One sentence for each criterion."""
    return [
        f"Gamma {g.dose_percent:g} % / {g.distance_mm:g} mm above {CUTOFF:g} % of the maximum: "
        f"{g.passed:.1%} of {g.voxels} voxels pass, mean {g.mean:.2f}."
        for g in results
    ]
