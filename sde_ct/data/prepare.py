"""Patients' files -> the prepared data set that training reads (its layout: `prepared.py`)."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.data.cohorts import Case
from sde_ct.data.files import read_volume
from sde_ct.data.grid import to_slices
from sde_ct.data.inputs import cut_mr
from sde_ct.data.prepared import DTYPES, INDEX, VERSION, Prepared, read_prepared
from sde_ct.data.split import Split, check_split
from sde_ct.data.volume import Volume, same_grid
from sde_ct.errors import InputError

AIR = -1024  # HU; what lies below is a scanner's padding, not attenuation


def prepare(
    cases: Sequence[Case],
    output: str | os.PathLike,
    *,
    source: str,
    split: Split,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    progress: Callable[[Sequence[Case]], Iterable[Case]] = iter,
    report: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Write the prepared data set to `output`: the whole of it, or nothing.

    Args:
      cases: as `find_cases` found them.
      output: a folder that does not exist yet.
      source: recorded.
      split: from `split_patients`; recorded.
      spacing: in-plane pixel size (y, x) in mm; None keeps each MR's own.
      size: (h, w); slices are cut or padded to it about their centre. None needs MR volumes
        that are equally large in plane.
      progress: wraps the loop over cases.
      report: takes one line a patient.

    Raises:
      InputError: `output` exists, there are no cases, a file is unusable, or the volumes of a
        patient lie on different grids.
    """
    output = Path(output)
    if output.exists():
        raise InputError(f"{output} exists: choose another output or remove it first")
    if not cases:
        raise InputError("no patients to prepare: check the input folder and the patterns")
    for name, values in (("spacing", spacing), ("size", size)):
        if values is not None and (len(values) != 2 or not all(v > 0 for v in values)):
            raise InputError(f"{name} = {values}: give two numbers above 0, as y,x")
    split = check_split(split, [case.id for case in cases])
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    try:
        records: dict[str, Any] = {}
        for case in progress(cases):
            records[case.id] = _prepare_case(case, partial / "cases" / case.id, spacing, size)
            _require_one_size(records)
            report(_line(case.id, records[case.id], split))
        index = {
            "format": "sde_ct prepared data",
            "version": VERSION,
            "source": source,
            "spacing": spacing,
            "size": next(iter(records.values()))["grid"]["size"][1:],
            "split": split,
            "cases": records,
        }
        (partial / INDEX).write_text(json.dumps(index, indent=1), "utf-8")
        partial.chmod(0o755)
        os.rename(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return read_prepared(output)


def _prepare_case(case: Case, folder: Path, spacing, size) -> dict[str, Any]:
    """Write the slices of one patient; the record of the case for the index."""
    mr = read_volume(case.mr, "a.u.")
    ct = _on_grid_of(mr, case, "ct", "HU")
    mask = None if case.mask is None else _on_grid_of(mr, case, "mask", "mask")
    cut = cut_mr(mr, mask, spacing=spacing, size=size, crop=size is not None, name=str(case.mr))
    if not cut.mask.any():
        raise InputError(f"{case.mr}: slices of {size} pixels miss the body: enlarge --size")
    limits = (AIR, np.iinfo(np.int16).max)
    ct = to_slices(ct.with_array(np.clip(ct.array, *limits)), cut.grid, fill=AIR)
    arrays = {"mr": cut.mr, "ct": np.rint(ct), "mask": cut.mask}
    folder.mkdir(parents=True)
    for name, dtype in DTYPES.items():
        np.save(folder / f"{name}.npy", arrays[name].astype(dtype), allow_pickle=False)
    files = {"mr": case.mr, "ct": case.ct, "mask": case.mask}
    return {
        "files": {kind: path and str(path) for kind, path in files.items()},
        "sha256": {kind: _sha256(path) for kind, path in files.items() if path},
        "slices": cut.grid.size[0],
        "voxel_mm": [float(s) for s in mr.spacing],
        "grid": cut.grid.to_json(),
        "mr_percentiles": {str(p): v for p, v in cut.percentiles.items()},
        "hu_range": [int(arrays["ct"].min()), int(arrays["ct"].max())],
        "mask": "given" if case.mask else "computed",
        "body_fraction": float(cut.mask.mean()),
    }


def _on_grid_of(mr: Volume, case: Case, kind: str, unit: str) -> Volume:
    path = getattr(case, kind)
    volume = read_volume(path, unit)
    if volume.array.shape != mr.array.shape:
        what = f"shape {volume.array.shape} against {mr.array.shape}"
    elif not same_grid(volume, mr):
        gap = float(np.abs(volume.affine - mr.affine).max())
        what = f"affines that differ by up to {gap:.3g}"
    else:
        return volume
    raise InputError(
        f"{path} and {case.mr} lie on different grids ({what}): resample {path.name} on the MR's"
    )


def _require_one_size(records: dict[str, Any]) -> None:
    sizes = {name: tuple(record["grid"]["size"][1:]) for name, record in records.items()}
    first, last = next(iter(sizes)), next(reversed(sizes))
    if sizes[first] != sizes[last]:
        raise InputError(
            f"slices of {first} are {sizes[first]}, of {last} {sizes[last]} pixels: give one --size"
        )


def _line(name: str, record: dict[str, Any], split: Split) -> str:
    part = next(key for key, names in split.items() if name in names)
    depth, height, width = record["grid"]["size"]
    low, high = record["hu_range"]
    return (
        f"{name}  {part}  {depth} slices of {height} x {width}  CT {low} to {high} HU  "
        f"mask {record['mask']}, {100 * record['body_fraction']:.0f} % body"
    )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
