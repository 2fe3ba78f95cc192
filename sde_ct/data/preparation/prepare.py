"""Patients -> the prepared data set that training reads (its layout: `prepared.py`)."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sde_ct.data.preparation.case import Settings, attempt, kept
from sde_ct.data.preparation.output import (
    claim,
    index_of,
    require_same_sides,
    sweep,
)
from sde_ct.data.preparation.report import write_report
from sde_ct.data.prepared import INDEX, VERSION, Prepared, read_prepared
from sde_ct.data.sources.patient import Source
from sde_ct.data.split import Split, check_split
from sde_ct.errors import InputError
from sde_ct.storage.lock import locked
from sde_ct.storage.whole import write_json

Outcome = tuple[str, dict[str, Any] | str]  # a patient's record, or why it was refused


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
    """Write the prepared data set to `output`, patient by patient, each whole or not at all.

    A patient that is unusable is refused with its reason, in `report.json` too, and the rest goes
    on. The same call again, after an interruption, a mended file or with more patients, does only
    what is missing and what comes from files that changed.

    Args:
      cases: as `find_cases` found them.
      output: a folder that does not exist yet, or that this very request was writing.
      source: recorded.
      split: from `split_patients`; recorded, without the patients that are refused.
      workers: processes; 1 stays in this one.
      progress: wraps what is done as it comes; its second argument is how much there will be.
      report: takes one line a patient.
      settings: of `Settings`.

    Raises:
      InputError: `output` holds something else or another process prepares it, there are no
        cases, none is usable, none is left for training, or slices differ in size; then nothing
        is left of a new `output`, and an old one is as it was.
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
            require_same_sides(output, split)
            records, refused = _run(cases, output, chosen, split, workers, progress, report)
            _finish(output, request, split, records, refused)
        except InputError:
            if fresh:
                shutil.rmtree(output)
            raise
    return read_prepared(output)


def _finish(
    output: Path,
    request: dict[str, Any],
    split: Split,
    records: dict[str, dict[str, Any]],
    refused: dict[str, str],
) -> None:
    """Write report and index. InputError where nobody is left for training."""
    left = {part: tuple(n for n in names if n not in refused) for part, names in split.items()}
    if not left["train"]:
        raise InputError(_nobody(refused, len(records) + len(refused)))
    index = {
        "format": "sde_ct prepared data",
        "version": VERSION,
        "source": request["source"],
        "spacing": request["spacing"],
        "size": next(iter(records.values()))["grid"]["size"][1:],
        "split": left,
        "cases": records,
    }
    write_report(output, request, left, records, refused)
    write_json(output / INDEX, index)


def _run(
    cases, output, settings, split, workers, progress, report
) -> tuple[dict[str, dict], dict[str, str]]:
    """The records of the patients, in the order of `cases`, and the reasons of the refused."""
    found: dict[str, dict[str, Any] | str] = {}
    for case in cases:
        if (record := kept(case, output, settings)) is not None:
            found[case.id] = record
            report(_line(case.id, record, split, "  (kept)"))
    _require_one_size(found, output)
    todo = [case for case in cases if case.id not in found]
    others = index_of(output).get("size")
    work = partial(attempt, output=output, settings=settings, others=others)
    with closing(_outcomes(todo, work, workers)) as outcomes:  # type: ignore[type-var]  # processes end with an error
        for name, outcome in progress(outcomes, len(todo)):
            found[name] = outcome
            if isinstance(outcome, str):
                report(f"{name}  refused  {outcome}")
            else:
                _require_one_size(found, output)
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


def _require_one_size(found: dict[str, dict[str, Any] | str], output: Path) -> None:
    """InputError where slices differ in size; those of an unusual one are taken away."""
    records = {name: record for name, record in found.items() if not isinstance(record, str)}
    sizes = {name: tuple(record["grid"]["size"][1:]) for name, record in records.items()}
    if len(set(sizes.values())) < 2:
        return
    usual = Counter(sizes.values()).most_common(1)[0][0]
    like = next(name for name, size in sizes.items() if size == usual)
    odd = [name for name, size in sizes.items() if size != usual]
    for name in odd:
        shutil.rmtree(output / "cases" / name)
    raise InputError(
        f"slices of {like} are {usual}, of {odd[0]} {sizes[odd[0]]} pixels: give one --size"
    )


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
