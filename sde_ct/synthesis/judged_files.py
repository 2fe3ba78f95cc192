"""Judge the volumes that an earlier synthesis wrote."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from sde_ct.acceptance.features import REASONS
from sde_ct.acceptance.verdict import Verdict
from sde_ct.config_record import from_dict
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.storage.records import Count, Limit, built
from sde_ct.storage.whole import read_json, write_json
from sde_ct.synthesis.judging import KEY, Judging, concluded
from sde_ct.synthesis.request import AcceptRequest
from sde_ct.synthesis.sidecar import RESULTS
from sde_ct.synthesis.sources import find_sources
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained, load
from sde_ct.synthesis.unlike import header_warnings
from sde_ct.uncertainty.draws import AirFigures
from sde_ct.volumes.dicom.series import Series
from sde_ct.volumes.files import open_source, read_any, read_mr
from sde_ct.volumes.volume import Volume, voxel_sha256


class Kept(TypedDict):
    """The record of a patient that `Judging.record` makes."""

    reference: str
    features: dict[str, float]
    facts: list[tuple[Annotated[str, Limit(lambda name: name in REASONS, "a reason")], str]]
    range_limit_mm: NotRequired[float | None]


class Checkpoint(TypedDict):
    weights_sha256: str
    configuration: dict[str, Any]


class Sidecar(TypedDict):
    """The fields of a sidecar that are read here."""

    sampler: str | None
    draws: Count
    checkpoints: Annotated[list[Checkpoint], Limit(bool, "a list of checkpoints")]
    input: Annotated[dict[str, Any], Limit(lambda mr: "sha256" in mr, "an MR with its sha256")]
    results: dict[str, str]
    air_around_body: NotRequired[dict[str, float] | None]
    acceptance: NotRequired[Kept]


def judge_folder(
    workdir: Path, folder: Path, mrs: Sequence[str], asked: AcceptRequest
) -> Iterator[tuple[str, Verdict]]:
    """Yield the name and the verdict of every volume in an output of synthesis.

    Args:
      workdir: the work directory of the network that made the output.
      folder: the output.
      mrs: MRs of volumes whose sidecars hold no figures by this network's reference.
      asked: the limit of the path lengths, and the function that writes the page.

    Raises:
      InputError: the folder holds no output or that of another network, or a volume needs its MR.
    """
    sidecars = sorted(folder.glob("*.json")) if folder.is_dir() else []
    records = {path.stem: _record(path) for path in sidecars}
    records = {k: v for k, v in records.items() if isinstance(v, dict) and RESULTS in v}
    if not records:
        raise InputError(f"{folder} holds no output of launch/synthesize.py: give its --output.")
    given = dict(_by_voxels(mrs, records))
    judgings: dict[str, tuple[Trained, Judging]] = {}
    for name, record in records.items():
        path = folder / f"{name}.json"
        _require_unchanged(folder, record[RESULTS])
        key = repr([record[k] for k in ("sampler", "draws", "checkpoints")])
        if key not in judgings:
            used = _network(workdir, record, path)
            judging = Judging.of(workdir, used, record["sampler"], record["draws"])
            judgings[key] = used, judging
        used, judging = judgings[key]
        if name in given:
            limit = record.get(KEY, {}).get("range_limit_mm")  # of the last verdict
            measured = _measured(folder, name, record, used, judging, given[name])
            write_json(path, record | {KEY: measured | {"range_limit_mm": limit}})
        yield name, concluded(folder, name, judging, asked)


def _record(path: Path) -> Any:
    try:
        record = read_json(path)
        if isinstance(record, dict) and RESULTS in record:
            built(Sidecar, record)
        return record
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): synthesize its volume again.") from None


def _require_unchanged(folder: Path, digests: dict[str, str]) -> None:
    """Raise InputError if a CT or a spread is not the one that was synthesized."""
    for output, digest in digests.items():
        path = folder / output
        judged = output.startswith(("sct/", "sct_std/")) and path.is_file()
        if judged and sha256(path) != digest:
            raise InputError(f"{path} has changed since it was written: synthesize it again.")


def _network(workdir: Path, record: dict[str, Any], path: Path) -> Trained:
    """The network of a work directory with the sampling that a sidecar names.

    Raises InputError if another network made the volume.
    """
    made = record["checkpoints"]
    trained = load(workdir, "newest" if record.get("checkpoint") == ["newest"] else "best")
    if len(made) > 1 or made[0]["weights_sha256"] != trained.sha256():
        raise InputError(
            f"{path} describes a CT of another network or checkpoint than that of {workdir}: give "
            "the --workdir of the network that made it."
        )
    try:
        return trained._replace(config=from_dict(made[0]["configuration"]))
    except InputError as error:
        raise InputError(f"{path}: {error} Synthesize its volume again.") from None


def _by_voxels(
    mrs: Sequence[str], records: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, tuple[Series | None, Volume]]]:
    """The name of each MR's synthetic CT, and the MR, with its series if it is DICOM."""
    for source in find_sources(mrs) if mrs else ():
        given = source.series or open_source(source.path)
        mr = read_mr(given)
        digest = voxel_sha256(mr.array)
        names = [n for n, record in records.items() if record["input"]["sha256"] == digest]
        if not names:
            raise InputError(f"{source.path} is not the MR of any volume here: leave it out.")
        yield names[0], (given if isinstance(given, Series) else None, mr)


def _measured(
    folder: Path,
    name: str,
    record: dict[str, Any],
    trained: Trained,
    judging: Judging,
    given: tuple[Series | None, Volume],
) -> dict[str, Any]:
    """`Judging.record` of a volume, from the files of its mean and spread."""
    if record.get("calibrated") or len(trained.contrasts) > 1:
        raise InputError(
            f"{name} was made with --calibrated or from several contrasts: synthesize it again to "
            "another --output, with --accept."
        )
    opened, mr = given
    mean, spread = folder / "sct" / f"{name}.nii.gz", folder / "sct_std" / f"{name}.nii.gz"
    ct = SyntheticCT((), read_any(mean), read_any(spread) if spread.exists() else None, 0, 0, 0)
    if air := record.get("air_around_body"):
        ct = replace(ct, air=AirFigures(*air.values()))
    header = header_warnings([trained], opened) if opened else ()
    return judging.record(name, mr, ct, (), header)
