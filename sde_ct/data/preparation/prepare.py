"""Patients -> the prepared data set that training reads (its layout: `prepared.py`)."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sde_ct.data.preparation.case import Settings, attempt, kept
from sde_ct.data.preparation.output import claim, require_same_sides, write_json
from sde_ct.data.preparation.registration import Kind
from sde_ct.data.preparation.report import write_report
from sde_ct.data.prepared import INDEX, VERSION, Prepared, read_prepared
from sde_ct.data.sources.patient import Source
from sde_ct.data.split import Split, check_split
from sde_ct.errors import InputError

Outcome = tuple[str, dict[str, Any] | str]  # a patient's record, or why it was refused


def prepare(
    cases: Sequence[Source],
    output: str | os.PathLike,
    *,
    source: str,
    split: Split,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    crop_to_body: bool = False,
    register: Kind | None = None,
    pictures: bool = False,
    workers: int = 1,
    progress: Callable[[Iterable[Outcome], int], Iterable[Outcome]] = lambda outcomes, _: outcomes,
    report: Callable[[str], None] = lambda line: None,
) -> Prepared:
    """Write the prepared data set to `output`, patient by patient, each whole or not at all.

    A patient that is unusable is refused with its reason, in `report.json` too, and the rest goes
    on. The same call again, after an interruption or a mended file, does only what is missing and
    what comes from files that changed.

    Args:
      cases: as `find_cases` found them.
      output: a folder that does not exist yet, or that this very request was writing.
      source: recorded.
      split: from `split_patients`; recorded, without the patients that are refused.
      spacing: in-plane pixel size (y, x) in mm; None keeps each MR's own.
      size: (h, w); slices are cut or padded to it about their centre. None needs MR volumes
        that are equally large in plane.
      crop_to_body: cut them about the middle of the body instead; needs `size`.
      register: move every CT onto its MR, "rigid" or "deformable", but for those that a source
        has deformed onto it; None needs them on the MR's grid.
      pictures: draw `qc/ID.png` of every patient.
      workers: processes; 1 stays in this one.
      progress: wraps what is done as it comes; its second argument is how much there will be.
      report: takes one line a patient.

    Raises:
      InputError: `output` holds something else, there are no cases, none is usable, none is left
        for training, or slices differ in size; then nothing is left of a new `output`.
    """
    output = Path(output)
    if not cases:
        raise InputError("no patients to prepare: check the input folder and the patterns")
    settings = Settings(spacing, size, crop_to_body, register, pictures)
    _require_sound(settings)
    split = check_split(split, [case.id for case in cases])
    request = json.loads(json.dumps({"source": source} | settings.to_json()))
    fresh = claim(output, request)
    try:
        if not fresh:
            require_same_sides(output, split)
        records, refused = _run(cases, output, settings, split, workers, progress, report)
        left = _without(split, refused)
        if not left["train"]:
            raise InputError(_nobody(refused, len(cases)))
        index = {
            "format": "sde_ct prepared data",
            "version": VERSION,
            "source": source,
            "spacing": spacing,
            "size": next(iter(records.values()))["grid"]["size"][1:],
            "split": left,
            "cases": records,
        }
        write_report(output, request, left, records, refused)
        write_json(output / INDEX, index)
    except InputError:
        if fresh:
            shutil.rmtree(output)
        raise
    return read_prepared(output)


def _require_sound(settings: Settings) -> None:
    for name in ("spacing", "size"):
        values = getattr(settings, name)
        if values is not None and (len(values) != 2 or not all(v > 0 for v in values)):
            raise InputError(f"{name} = {values}: give two numbers above 0, as y,x")
    if settings.crop_to_body and settings.size is None:
        raise InputError("crop_to_body needs the size of the slices: give --size too")


def _run(
    cases, output, settings, split, workers, progress, report
) -> tuple[dict[str, dict], dict[str, str]]:
    """The records of the patients, in the order of `cases`, and the reasons of the refused."""
    found: dict[str, dict[str, Any] | str] = {}
    for case in cases:
        if (record := kept(case, output, settings)) is not None:
            found[case.id] = record
            report(_line(case.id, record, split, "  (kept)"))
    todo = [case for case in cases if case.id not in found]
    work = partial(attempt, output=output, settings=settings)
    with closing(_outcomes(todo, work, workers)) as outcomes:  # type: ignore[type-var]  # processes end with an error
        for name, outcome in progress(outcomes, len(todo)):
            found[name] = outcome
            if isinstance(outcome, str):
                report(f"{name}  refused  {outcome}")
            else:
                _require_one_size({k: v for k, v in found.items() if not isinstance(v, str)})
                report(_line(name, outcome, split))
    ordered = {case.id: found[case.id] for case in cases}
    for name, other in _twins(ordered).items():
        ordered[name] = f"its MR is {other}'s, voxel by voxel: one patient under two names"
        report(f"{name}  refused  {ordered[name]}")
    refused = {name: value for name, value in ordered.items() if isinstance(value, str)}
    return {name: v for name, v in ordered.items() if not isinstance(v, str)}, refused


def _twins(found: dict[str, dict[str, Any] | str]) -> dict[str, str]:
    """Patients whose MR an earlier one has too, who would be in two splits."""
    first: dict[str, str] = {}
    twins = {}
    for name, record in found.items():
        if not isinstance(record, str):
            other = first.setdefault(record["mr_voxels_sha256"], name)
            if other != name:
                twins[name] = other
    return twins


def _outcomes(todo: Sequence[Source], work: Callable, workers: int) -> Iterator[Outcome]:
    """What becomes of every patient, as it is done."""
    if min(workers, len(todo)) <= 1:
        for case in todo:
            yield case.id, work(case)
        return
    with ProcessPoolExecutor(min(workers, len(todo)), get_context("spawn")) as pool:
        futures = {pool.submit(work, case): case.id for case in todo}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a process was killed, for want of memory as a rule: give fewer --workers and "
                "start again, what is done stays"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _require_one_size(records: dict[str, Any]) -> None:
    sizes = {name: tuple(record["grid"]["size"][1:]) for name, record in records.items()}
    first, last = next(iter(sizes)), next(reversed(sizes))
    if sizes[first] != sizes[last]:
        raise InputError(
            f"slices of {first} are {sizes[first]}, of {last} {sizes[last]} pixels: give one --size"
        )


def _without(split: Split, refused: dict[str, str]) -> Split:
    return {part: tuple(n for n in names if n not in refused) for part, names in split.items()}


def _nobody(refused: dict[str, str], patients: int) -> str:
    """Why nobody is left for training; the whole reason where there is but one."""
    name, reason = next(iter(refused.items()))
    if len(refused) == patients == 1:
        return reason
    who = "no patient is usable" if len(refused) == patients else "no patient is left for training"
    return f"{who}, {len(refused)} of {patients} were refused, such as {name}: {reason}"


def _line(name: str, record: dict[str, Any], split: Split, note: str = "") -> str:
    part = next(key for key, names in split.items() if name in names)
    depth, height, width = record["grid"]["size"]
    low, high = record["hu_range"]
    line = (
        f"{name}  {part}  {depth} slices of {height} x {width}  CT {low} to {high} HU  "
        f"mask {record['mask']}, {100 * record['body_fraction']:.0f} % body{note}"
    )
    return "\n".join([line, *(f"    warning: {warning}" for warning in record["warnings"])])
