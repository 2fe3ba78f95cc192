"""Patients among each other: the same one twice, or in two splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.volume import Volume, canonical, voxel_sha256


def fingerprint(volume: Volume) -> str:
    """The same for the same voxels, whatever the file, its type or the order of its axes."""
    return voxel_sha256(canonical(volume).array)


def duplicates(prints: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Names of cases that share a fingerprint."""
    same = defaultdict(list)
    for name, mark in prints.items():
        same[mark].append(name)
    return [tuple(names) for names in same.values() if len(names) > 1]


def doubled(prints: Mapping[str, str], kind: str) -> list[Finding]:
    """Patients that are another's copy, voxel for voxel; `kind` is MR or CT."""
    return [
        error(
            f"{', '.join(names)} have the same {kind}, voxel for voxel",
            "remove the copies: one patient counts once",
        )
        for names in duplicates(prints)
    ]


def leaks(split: Mapping[str, Sequence[str]], prints: Mapping[str, str]) -> list[Finding]:
    """Patients in two parts of a split, by their name or by their check_intensities."""
    parts = defaultdict(set)
    for part, names in split.items():
        for name in names:
            parts[name].add(part)
    found = [
        error(f"{name} is in {' and in '.join(sorted(where))}", _MEND)
        for name, where in parts.items()
        if len(where) > 1
    ]
    for names in duplicates(prints):
        where = set().union(*(parts[name] for name in names))
        if len(where) > 1:
            found.append(
                error(
                    f"{', '.join(names)} hold the same voxels in {' and in '.join(sorted(where))}",
                    _MEND,
                )
            )
    return found


_MEND = "prepare the data again with each patient in one split: scores are too good now"


def unlike(sizes: Mapping[str, tuple[float, ...]]) -> list[Finding]:
    """Voxels of one patient that differ from most others' by more than half."""
    if len(sizes) < 3:
        return []
    ordered = sorted(sizes.values())
    usual = ordered[len(ordered) // 2]
    odd = [
        name
        for name, size in sizes.items()
        if any(not 2 / 3 <= a / b <= 3 / 2 for a, b in zip(size, usual, strict=True))
    ]
    if not odd:
        return []
    usual_mm = " x ".join(f"{s:.3g}" for s in usual)
    return [
        warning(
            f"voxels of {', '.join(odd)} differ by half from the usual {usual_mm} mm",
            "prepare with one --spacing",
        )
    ]
