"""Prepare patients as the data set that training reads; `prepared.py` describes its layout."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sde_ct.data.preparation.case import Settings, attempt, kept
from sde_ct.data.preparation.output import (
    claim,
    index_of,
    require_all,
    require_same_sides,
    sides,
    sweep,
)
from sde_ct.data.prepared import CASES, INDEX, VERSION, Prepared, read_prepared
from sde_ct.data.sources.patient import Source
from sde_ct.data.split import Split, check_split
from sde_ct.errors import InputError
from sde_ct.storage.lock import locked
from sde_ct.storage.versions import versions
from sde_ct.storage.whole import write_json

REPORT = "report.json"
# Entries of a record that programs need and that the report omits.
OF_PROGRAMS = {
    *("sha256", "mr_voxels_sha256", "grid", "mr_percentiles", "further_percentiles", "seen"),
    "extra",
}
Records = dict[str, dict[str, Any]]  # by patient
# A patient's name, and the record or the reason for a refusal.
Outcome = tuple[str, dict[str, Any] | str]


def prepare(
    cases: Sequence[Source],
    output: str | os.PathLike,
    *,
    source: str,
    split: Split,
    workers: int = 1,
    progress: Callable[[Iterable[Outcome], int], Iterable[Outcome]] = lambda outcomes, _: outcomes,
    report: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Prepared:
    """Write the prepared data set to `output`; each patient is written whole or not at all.

    An unusable patient is refused with a reason, which `report.json` repeats, and all others are
    prepared. The same call again prepares only missing patients and patients whose files changed.

    Args:
      cases: as `find_cases` returns them.
      output: a folder that does not exist yet, or that an earlier call with the same request wrote.
      source: name of the source, for the record.
      split: from `split_patients`. The index lists refused patients only in `sides`, from which a
        later call takes their part of the split.
      workers: number of processes; with 1, this process does all the work.
      progress: wraps the iterator of outcomes; its second argument is the number of patients.
      report: called with one line per patient.
      settings: of `Settings`.

    Raises:
      InputError: `output` holds something else, holds patients who are not among the cases, or is
        in use by another process; there are no cases; no case is usable or left for training; or
        slices differ in size. In all these cases a new `output` is removed, and an old one keeps
        its index and report.
    """
    output = Path(output)
    if not cases:
        raise InputError("no patients to prepare: check the input folder and the patterns")
    chosen = Settings(**settings)
    chosen.require_sound()
    split = check_split(split, [case.id for case in cases])
    request = json.loads(json.dumps({"source": source} | chosen.to_json()))
    fresh = claim(output, request)
    with locked(output, "preparing data", "--output"):
        try:
            sweep(output)
            require_all(output, [case.id for case in cases])
            require_same_sides(output, split)
            records, refused = _run(cases, output, chosen, split, workers, progress, report)
            _finish(output, request, split, records, refused)
        except InputError:
            if fresh:
                shutil.rmtree(output)
            raise
    return read_prepared(output)


def _finish(
    output: Path, request: dict[str, Any], split: Split, records: Records, refused: dict[str, str]
) -> None:
    """Write report and index. Raises InputError if no patient is left for training."""
    left = {part: tuple(n for n in names if n not in refused) for part, names in split.items()}
    if not left["train"]:
        raise InputError(_nobody(refused, len(records) + len(refused)))
    parts = {name: part for part, names in split.items() for name in names}
    patients = {
        name: {"split": parts[name], **{k: v for k, v in record.items() if k not in OF_PROGRAMS}}
        for name, record in records.items()
    }
    report = {
        "format": "sde_ct preparation report",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "request": request,
        "split": left,
        "refused": refused,
        "patients": patients,
    }
    index = {
        "format": "sde_ct prepared data",
        "version": VERSION,
        "source": request["source"],
        "spacing": request["spacing"],
        "n4": request.get("n4", False),
        "size": next(iter(records.values()))["grid"]["size"][1:],
        "split": left,
        "sides": sides(output) | parts,
        "cases": records,
    }
    write_json(output / REPORT, report)
    write_json(output / INDEX, index)


def _run(
    cases, output, settings, split, workers, progress, report
) -> tuple[Records, dict[str, str]]:
    """The records of usable patients in the order of `cases`, and the reasons for refusals."""
    outcomes: dict[str, dict[str, Any] | str] = {}
    for case in cases:
        if (record := kept(case, output, settings)) is not None:
            outcomes[case.id] = record
            report(_line(case.id, record, split, "  (kept)"))
    _require_one_size(outcomes, output)
    todo = [case for case in cases if case.id not in outcomes]
    expected = index_of(output).get("size")
    work = partial(attempt, output=output, settings=settings, expected=expected)
    # Closing the iterator ends the processes.
    with closing(_outcomes(todo, work, workers)) as new:  # type: ignore[type-var]
        for name, outcome in progress(new, len(todo)):
            outcomes[name] = outcome
            if isinstance(outcome, str):
                report(f"{name}  refused  {outcome}")
            else:
                _require_one_size(outcomes, output)
                report(_line(name, outcome, split))
    records: Records = {}
    refused: dict[str, str] = {}
    same_mr: dict[str, str] = {}  # a patient with two names could be in two splits
    for case in cases:
        outcome = outcomes[case.id]
        if isinstance(outcome, str):
            refused[case.id] = outcome
        elif (other := same_mr.setdefault(outcome["mr_voxels_sha256"], case.id)) != case.id:
            refused[case.id] = f"its MR equals that of {other} in every voxel: keep one of the two"
            report(f"{case.id}  refused  {refused[case.id]}")
        else:
            records[case.id] = outcome
    return records, refused


def _outcomes(todo: Sequence[Source], work: Callable, workers: int) -> Iterator[Outcome]:
    """Yield each patient's outcome as soon as it is known."""
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
                "a process was killed, usually for lack of memory: give fewer --workers and start "
                "again; patients that are prepared already are kept"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _require_one_size(outcomes: Mapping[str, dict[str, Any] | str], output: Path) -> None:
    """Raise InputError if slices differ in size, and remove patients of an unusual size."""
    sizes = {
        name: tuple(record["grid"]["size"][1:])
        for name, record in outcomes.items()
        if not isinstance(record, str)
    }
    if len(set(sizes.values())) < 2:
        return
    usual = Counter(sizes.values()).most_common(1)[0][0]
    like = next(name for name, size in sizes.items() if size == usual)
    odd = [name for name, size in sizes.items() if size != usual]
    for name in odd:
        shutil.rmtree(output / CASES / name)
    raise InputError(
        f"slices of {like} have {usual} pixels, but those of {odd[0]} have {sizes[odd[0]]}: give "
        "one --size"
    )


def _nobody(refused: dict[str, str], patients: int) -> str:
    """Why no patient is left for training; for a single patient, the reason of its refusal."""
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
