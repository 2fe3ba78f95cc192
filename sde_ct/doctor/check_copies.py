"""Checks between patients: copies, patients in two parts of a split, and unusual voxel sizes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sde_ct.doctor.check_geometry import millimetres
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.volume import Volume, canonical, voxel_sha256

LEAK = "prepare again with each patient in one part of the split; until then scores are too good"


def fingerprint(volume: Volume) -> str:
    """A hash of the voxels, independent of the file, its type and the order of its axes."""
    return voxel_sha256(canonical(volume).array)


def copies(prints: Mapping[str, str]) -> list[tuple[str, ...]]:
    """For each fingerprint that several patients share, their names."""
    same = defaultdict(list)
    for name, mark in prints.items():
        same[mark].append(name)
    return [tuple(names) for names in same.values() if len(names) > 1]


def check_copies(prints: Mapping[str, str], kind: str) -> Iterator[Finding]:
    """Report patients with the same voxels in their MR or CT (`kind`)."""
    for names in copies(prints):
        what = f"{', '.join(names)} have the same {kind}, voxel for voxel"
        yield error(what, "remove the copies, so that each patient counts once")


def check_split(split: Mapping[str, Sequence[str]], prints: Mapping[str, str]) -> Iterator[Finding]:
    """Report patients that are in two parts of a split, by name or by voxels."""
    parts = defaultdict(set)
    for part, names in split.items():
        for name in names:
            parts[name].add(part)
    for name, where in parts.items():
        if len(where) > 1:
            yield error(f"{name} is in {' and in '.join(sorted(where))}", LEAK)
    for names in copies(prints):
        if len(where := set().union(*(parts[name] for name in names))) > 1:
            what = f"{', '.join(names)} hold the same voxels in {' and in '.join(sorted(where))}"
            yield error(what, LEAK)


def check_spacings(spacings: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Report patients whose voxel sizes (mm) differ from the usual ones by a factor above 1.5.

    The usual size is the median of at least three patients; fewer are not compared.
    """
    if len(spacings) < 3:
        return
    usual = sorted(map(tuple, spacings.values()))[len(spacings) // 2]
    ratios = {name: np.divide(spacing, usual) for name, spacing in spacings.items()}
    odd = [name for name, r in ratios.items() if r.min() < 2 / 3 or r.max() > 3 / 2]
    if odd:
        usual_mm = millimetres(np.array(usual))
        yield warning(
            f"voxels of {', '.join(odd)} differ from the usual {usual_mm} by a factor above 1.5",
            "prepare with one --spacing, which makes pixel sizes equal, but not slice distances",
        )
