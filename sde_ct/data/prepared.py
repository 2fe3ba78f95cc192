"""Open and check a prepared data set, which needs no other files and can be moved.

DIR/dataset.json              the index: source, slice grid, split, and the record of every case
DIR/cases/<id>/mr.npy         float32 [z, h, w], a.u.
DIR/cases/<id>/mr_T1.npy      the same for a further contrast with the name T1
DIR/cases/<id>/ct.npy         int16   [z, h, w], HU; where valid is 0: 0 in the body, -1000 outside
DIR/cases/<id>/mask.npy       uint8   [z, h, w], 1 where results are judged: in the body and valid
DIR/cases/<id>/valid.npy      uint8   [z, h, w], 1 where the CT was measured and trains the network
DIR/cases/<id>/*.nii.gz       mr, ct (as measured), mask, valid and body on the MR's own grid, and
                              further volumes of the source
DIR/cases/<id>/case.json      the patient's record, which a repeated run reads
DIR/report.json               a report for people on choices, refusals and warnings
DIR/qc/<id>.png               a picture of the patient
DIR/request.json              the settings of the preparation
DIR/lock                      held by the process that prepares the data
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Shaped

from sde_ct.data.acquisition import Facts
from sde_ct.data.contrasts import SINGLE, file_name
from sde_ct.data.seen import FIGURES, Ranges
from sde_ct.data.split import Split, check_split
from sde_ct.errors import InputError
from sde_ct.storage.folders import is_path
from sde_ct.storage.records import Count, Limit, Positive, built
from sde_ct.storage.whole import read_json
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.slice_grid import SliceGrid
from sde_ct.volumes.volume import Unit, Volume

VERSION = 2
INDEX = "dataset.json"
CASES = "cases"  # the folder of all patients
# The types of the slices, and the units of the volumes. Further MR contrasts have the type of "mr".
DTYPES = {"mr": np.float32, "ct": np.int16, "mask": np.uint8, "valid": np.uint8}
UNITS: dict[str, Unit] = {"mr": "a.u.", "ct": "HU", "mask": "mask", "valid": "mask", "body": "mask"}

Levels = Annotated[
    dict[float, float], Limit(lambda p: p.keys() >= {0.5, 99.5}, "percentiles with 0.5 and 99.5")
]


class CaseRecord(TypedDict):
    """The fields of a patient's record that are checked when it is read."""

    grid: SliceGrid
    mr_percentiles: Levels
    seen: Annotated[Ranges, Limit(lambda r: r.keys() >= FIGURES.keys(), "ranges of `FIGURES`")]
    unmeasured_slices: list[int]
    contrasts: NotRequired[list[str]]
    further_percentiles: NotRequired[dict[str, Levels]]
    extra: NotRequired[dict[str, Unit]]
    patient_position: NotRequired[str | None]
    acquisition: NotRequired[Facts | None]


class Index(TypedDict):
    """The content of `INDEX`."""

    source: str
    spacing: tuple[Positive, Positive] | None
    size: tuple[Count, Count]
    n4: NotRequired[bool]
    split: dict[str, list[str]]
    # The part of the split of every patient so far, refused ones included; older sets lack it.
    sides: NotRequired[dict[str, str]]
    cases: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class PreparedCase:
    """One patient, whose slices and volumes are read from disk on request."""

    id: str
    folder: Path
    grid: SliceGrid  # the map between the slices and the MR's own voxels
    percentiles: dict[float, float]  # of the MR inside the body, a.u.
    record: Mapping[str, Any]  # the record from preparation

    def __len__(self) -> int:
        return self.grid.size[0]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The names of the MR contrasts; the first is stored as the volume "mr"."""
        return tuple(self.record.get("contrasts", SINGLE))

    @property
    def mrs(self) -> dict[str, dict[float, float]]:
        """The percentiles of every MR contrast, by its name in `load` and `volume`."""
        further = self.record.get("further_percentiles", {})
        return {"mr": self.percentiles} | {file_name(name): p for name, p in further.items()}

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names that `load` accepts."""
        return (*DTYPES, *list(self.mrs)[1:])

    def load(self, name: str) -> Shaped[np.ndarray, "z h w"]:
        """The slices "mr" (a.u.), "ct" (HU), "mask" or "valid", or those of a further contrast.

        The array is mapped from disk, read only, and keeps one file descriptor open for as long as
        it exists.
        """
        path, dtype = self.folder / f"{name}.npy", DTYPES.get(name, np.float32)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if not isinstance(array, np.ndarray):
                raise ValueError("an archive of several arrays")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is missing or damaged: prepare the data again") from error
        if array.shape != self.grid.size or array.dtype != dtype:
            raise InputError(
                f"{path} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} "
                f"{self.grid.size}: prepare the data again"
            )
        return array

    @property
    def volumes(self) -> dict[str, Unit]:
        """The names and units of the volumes that `volume` reads."""
        return UNITS | self.record.get("extra", {})

    def volume(self, name: str) -> Volume:
        """One of `volumes` on the MR's own grid; the CT has its measured values."""
        unit = self.volumes[name]
        array = read_volume(self.folder / f"{name}.nii.gz", unit).array
        return self.grid.frame.with_array(array, unit)


@dataclass(frozen=True)
class Prepared:
    """A prepared data set."""

    folder: Path
    source: str
    spacing: tuple[float, float] | None  # in plane (y, x), mm; None if each case has its own
    size: tuple[int, int]  # (h, w) of every slice
    n4: bool  # whether the MR's slices, but not its volume, are corrected for the bias field
    split: Split
    cases: dict[str, PreparedCase]

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The names of the MR contrasts, which are the same in every case."""
        return next(iter(self.cases.values())).contrasts

    def of(self, split: str) -> tuple[PreparedCase, ...]:
        """The cases of "train", "validation" or "test"."""
        return tuple(self.cases[name] for name in self.split[split])


def read_prepared(folder: str | os.PathLike) -> Prepared:
    """Open and check a data set that `prepare` wrote.

    Raises:
      InputError: the folder or a file in it is missing, damaged or of another version, or a
        patient is in two parts of the split.
    """
    folder = Path(folder)
    path = folder / INDEX
    if not path.is_file():
        started = (folder / CASES).is_dir()  # by a preparation that was interrupted
        if folder.is_dir() and any(folder.iterdir()) and not started:
            inside = [place.parent for place in sorted(folder.glob(f"*/{INDEX}"))]
            instead = (
                f"did you mean {inside[0]}?"
                if inside
                else "prepare its images with launch/prepare.py into a new folder, and give that"
            )
            raise InputError(
                f"{folder} is not a prepared data set, because it holds no {INDEX}: {instead}"
            )
        raise InputError(f"{path} does not exist: run launch/prepare.py --output={folder} first")
    try:
        values = read_json(path)
        version = values.get("version", VERSION) if isinstance(values, dict) else VERSION
        if version != VERSION:
            raise InputError(
                f"{path} has version {version}, but this program reads version {VERSION}: prepare "
                "the data again"
            )
        prepared = _from_json(folder, built(Index, values))
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): prepare the data again") from error
    for case in prepared.cases.values():
        if case.grid.size[1:] != prepared.size:
            raise InputError(f"{path}: case {case.id} has slices of another size: prepare it again")
        if case.contrasts != prepared.contrasts:
            raise InputError(f"{path}: case {case.id} has other MR contrasts: prepare it again")
        for name in case.arrays:
            case.load(name)
        for name in case.volumes:
            if not (volume := case.folder / f"{name}.nii.gz").is_file():
                raise InputError(f"{volume} is missing: prepare the data again")
    return prepared


def _from_json(folder: Path, values: Index) -> Prepared:
    cases = {name: _case(folder, name, record) for name, record in values["cases"].items()}
    if not cases:
        raise InputError(f"{folder / INDEX} holds no cases: prepare the data again")
    try:
        split = check_split(values["split"], tuple(cases))
    except InputError as error:
        raise InputError(f"{folder / INDEX}: {error}") from None
    return Prepared(
        folder=folder,
        source=values["source"],
        spacing=values["spacing"],
        size=values["size"],
        n4=values.get("n4", False),  # older sets lack this field
        split={"train": (), "validation": (), "test": (), **split},
        cases=cases,
    )


def _case(folder: Path, name: str, record: dict[str, Any]) -> PreparedCase:
    # Results are written to files of this name.
    if is_path(name):
        raise InputError(f"{folder / INDEX}: the case name {name!r} is a path: prepare it again")
    read = built(CaseRecord, record, f"cases.{name}")
    return PreparedCase(
        id=name,
        folder=folder / CASES / name,
        grid=read["grid"],
        percentiles=read["mr_percentiles"],
        record=read,
    )
