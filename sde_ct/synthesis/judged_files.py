"""Judge the volumes that an earlier synthesis wrote."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Float

from sde_ct.acceptance import reference as references
from sde_ct.acceptance.features import REASONS
from sde_ct.config_record import from_dict
from sde_ct.errors import InputError
from sde_ct.storage.records import Count, Limit, built
from sde_ct.storage.whole import read_json, write_json
from sde_ct.synthesis.judging import KEY, Judging, concluded, kept, require_ct, warnings_of
from sde_ct.synthesis.request import AcceptRequest, Done
from sde_ct.synthesis.sidecar import RESULTS, volume_locked
from sde_ct.synthesis.sources import Source, find_sources
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained, load
from sde_ct.synthesis.unlike import header_warnings
from sde_ct.uncertainty.draws import AirFigures
from sde_ct.volumes.dicom.series import Series
from sde_ct.volumes.files import open_source, read_any, read_mr
from sde_ct.volumes.volume import CORNER_MM, Volume, corners_apart, voxel_sha256

MADE_BY = ("sampler", "draws", "checkpoints")  # keys of a sidecar that say what made the CT


class Kept(TypedDict):
    """The fields of a volume's record of acceptance that are read here."""

    reference: str
    features: dict[str, float]
    facts: list[tuple[Annotated[str, Limit(lambda name: name in REASONS, "a reason")], str]]
    range_limit_mm: NotRequired[float | None]


class Checkpoint(TypedDict):
    weights_sha256: str
    configuration: dict[str, Any]


class Grid(TypedDict):
    """The MR of a volume, in a sidecar."""

    sha256: str
    affine: NotRequired[Float[np.ndarray, "4 4"]]


class Sidecar(TypedDict):
    """The fields of a sidecar that are read here."""

    sampler: str | None
    draws: Count
    checkpoints: Annotated[list[Checkpoint], Limit(bool, "a list of checkpoints")]
    input: Grid
    results: dict[str, str]
    air_around_body: NotRequired[dict[str, float] | None]
    acceptance: NotRequired[Kept]
    warnings: NotRequired[list[str]]
    series_verdicts: NotRequired[dict[str, str]]


class JudgedFolder:
    """An output of synthesis whose volumes are judged one at a time.

    Attributes:
      names: the names of the volumes.
      refused: the errors of damaged sidecars and of MRs that cannot be used, by name or path.
    """

    def __init__(self, workdir: Path, folder: Path, mrs: Sequence[str], asked: AcceptRequest):
        """Read the sidecars and the MRs.

        Args:
          workdir: the work directory of the network that made the output.
          folder: the output.
          mrs: MRs of volumes whose sidecars hold no figures by this network's reference.
          asked: the limit of the path lengths, and the function that writes the page.

        Raises:
          InputError: the folder holds no output, the work directory holds no network or no
            reference, or an element of `mrs` names no file.
        """
        self._workdir, self._folder, self._asked = workdir, folder, asked
        self.refused: dict[str, InputError] = {}
        self._records = self._read()
        if not self._records and not self.refused:
            raise InputError(
                f"{folder} holds no output of launch/synthesize.py: give its --output."
            )
        references.read(workdir / references.NAME)  # all volumes need it
        self._networks = {c: load(workdir, c) for c in map(_choice, self._records.values())}
        self._judgings: dict[str, tuple[Trained, Judging]] = {}
        self._given: dict[str, tuple[Series | None, Volume]] = {}
        for source in find_sources(mrs) if mrs else ():
            try:
                self._take(source)
            except InputError as error:
                self.refused[str(source.path)] = error
        self.names = tuple(self._records)

    def __call__(self, name: str) -> Done:
        """Judge one volume, after waiting for another process that works on it.

        Raises InputError if another network made the volume, it cannot be measured from these
        files, its sidecar was replaced since this folder was read, or as `concluded`.
        """
        with volume_locked(self._folder, name):
            return self._judged(name)

    def _judged(self, name: str) -> Done:
        path = self._folder / f"{name}.json"
        record = self._again(path)
        used, judging = self._judging(record, path)
        held = record.get(KEY) or {}
        # The files hold less than the draws did, so figures by this reference are kept.
        if name in self._given and held.get("reference") != judging.digest:
            require_ct(self._folder, name, record)
            opened, mr = self._given[name]
            measured = _measured(self._folder, name, record, used, judging, opened, mr)
            write_json(path, read_json(path) | {KEY: kept(held, measured, opened is not None)})
        verdict = concluded(self._folder, name, judging, self._asked)
        warnings = warnings_of(self._folder, name)
        return Done(name, f"{name}:", warnings, (), tuple(verdict.lines()), not verdict.reasons)

    def _read(self) -> dict[str, dict[str, Any]]:
        """The sidecars by name; damaged ones are refused, and other JSON files are left out."""
        found = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            try:
                if record := _sidecar(path):
                    found[path.stem] = record
            except InputError as error:
                self.refused[path.stem] = error
        return found

    def _again(self, path: Path) -> dict[str, Any]:
        """A sidecar as it is now. Raises InputError if it is gone or describes another CT."""
        record = _sidecar(path) if path.is_file() else None
        if record is None or _made_by(record) != _made_by(self._records[path.stem]):
            raise InputError(
                f"{path} was replaced while this program ran: give the same command again."
            )
        return record

    def _take(self, source: Source) -> None:
        """Keep an MR, with its series if it is DICOM, for the volumes that were made from it.

        Raises InputError if no volume was made from these voxels, or none at these positions.
        """
        given = source.series or open_source(source.path)
        mr = read_mr(given)
        digest = voxel_sha256(mr.array)
        inputs = {name: record["input"] for name, record in self._records.items()}
        same = [name for name, one in inputs.items() if one["sha256"] == digest]
        if not same:
            raise InputError(f"{source.path} is not the MR of any volume here: leave it out.")
        names = [name for name in same if _apart_mm(inputs[name], mr) <= CORNER_MM]
        if not names:
            raise InputError(
                f"{source.path} has the voxels of the MR of {same[0]}, but its affine moves them "
                f"by {_apart_mm(inputs[same[0]], mr):.3g} mm: give the MR of the synthesis."
            )
        opened = given if isinstance(given, Series) else None
        self._given |= dict.fromkeys(names, (opened, mr))

    def _judging(self, record: dict[str, Any], path: Path) -> tuple[Trained, Judging]:
        """The network and the reference for a sidecar. Raises InputError as `__call__`."""
        key = repr([record[k] for k in MADE_BY])
        if key not in self._judgings:
            used = _network(self._networks[_choice(record)], record, path, self._workdir)
            judging = Judging.of(self._workdir, used, record["sampler"], record["draws"])
            self._judgings[key] = used, judging
        return self._judgings[key]


def _sidecar(path: Path) -> dict[str, Any] | None:
    """The sidecar in a JSON file; None for other files. Raises InputError if it is damaged."""
    try:
        record = read_json(path)
        return built(Sidecar, record) if isinstance(record, dict) and RESULTS in record else None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): synthesize its volume again.") from None


def _made_by(record: dict[str, Any]) -> str:
    """The network, the sampling and the MR that a sidecar names."""
    return repr([*(record[k] for k in MADE_BY), _choice(record), record["input"]["sha256"]])


def _choice(record: dict[str, Any]) -> str:
    """Which checkpoint made a volume, "best" or "newest"."""
    return "newest" if record.get("checkpoint") == ["newest"] else "best"


def _apart_mm(recorded: dict[str, Any], mr: Volume) -> float:
    """How far an MR's voxels lie from where a sidecar says, mm; 0 if it does not say."""
    affine = recorded.get("affine")
    return 0.0 if affine is None else corners_apart(affine, mr.affine, mr.array.shape)


def _network(trained: Trained, record: dict[str, Any], path: Path, workdir: Path) -> Trained:
    """The network with the sampling that a sidecar names.

    Raises InputError if another network made the volume.
    """
    made = record["checkpoints"]
    if len(made) > 1 or made[0]["weights_sha256"] != trained.sha256():
        raise InputError(
            f"{path} describes a CT of another network or checkpoint than that of {workdir}: give "
            "the --workdir of the network that made it."
        )
    try:
        return trained._replace(config=from_dict(made[0]["configuration"]))
    except InputError as error:
        raise InputError(f"{path}: {error} Synthesize its volume again.") from None


def _measured(
    folder: Path,
    name: str,
    record: dict[str, Any],
    trained: Trained,
    judging: Judging,
    opened: Series | None,
    mr: Volume,
) -> dict[str, Any]:
    """`Judging.record` of a volume, from the files of its mean and spread."""
    if record.get("calibrated") or len(trained.contrasts) > 1:
        raise InputError(
            f"{name} was made with --calibrated or from several contrasts: synthesize it again to "
            "another --output, with --accept."
        )
    mean, spread = folder / "sct" / f"{name}.nii.gz", folder / "sct_std" / f"{name}.nii.gz"
    ct = SyntheticCT((), read_any(mean), read_any(spread) if spread.exists() else None, 0, 0, 0)
    if air := record.get("air_around_body"):
        ct = replace(ct, air=AirFigures(*air.values()))
    header = header_warnings([trained], opened) if opened else ()
    return judging.record(name, mr, ct, (), header)
