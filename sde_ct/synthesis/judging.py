"""Measure every synthetic CT for acceptance, and conclude PASS or REVIEW in its sidecar."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.acceptance import reference as references
from sde_ct.acceptance.reference import Reference
from sde_ct.acceptance.verdict import Verdict, judge
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.storage.whole import read_json, write_json
from sde_ct.synthesis.acceptance import Measurer, air_facts, settings, settings_facts
from sde_ct.synthesis.planning import paths
from sde_ct.synthesis.request import AcceptRequest, Request
from sde_ct.synthesis.series_verdicts import contradictions
from sde_ct.synthesis.sidecar import RESULTS
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty.ranges import RangeRow
from sde_ct.volumes.volume import Volume

KEY = "acceptance"  # the key of the record in a sidecar
Record = dict[str, Any]


class Judging(NamedTuple):
    """A network with the reference that was fitted for it."""

    reference: Reference
    digest: str  # SHA-256 of the reference's file
    facts: list[tuple[str, str]]  # reasons that the sampling settings give
    measure: Measurer

    @classmethod
    def of(cls, workdir: Path, trained: Trained, sampler: str | None, draws: int) -> "Judging":
        """The reference in a work directory.

        Raises InputError if it is missing, damaged, or fitted for other weights.
        """
        path = workdir / references.NAME
        reference = references.read(path)
        used = settings(trained, sampler, draws)
        fitted = reference.network
        if fitted.get("weights_sha256") != used["weights_sha256"]:
            raise InputError(
                f"{path} was fitted for other weights than those of step {trained.step}: remove it "
                "and run launch/accept.py --fit again, or choose the fitted --checkpoint."
            )
        return cls(reference, sha256(path), settings_facts(fitted, used), Measurer(trained))

    def record(
        self,
        name: str,
        mr: Volume,
        ct: SyntheticCT,
        further: Sequence[Volume] = (),
        header: Sequence[str] = (),
    ) -> Record:
        """The record of a patient for the sidecar, with which `concluded` needs no MR.

        Args:
          name: the patient's name.
          mr: a.u.
          ct: the draws as the network gave them.
          further: the other MR contrasts.
          header: sentences on how the MR's header differs from those of the training.
        """
        patient = self.measure(name, mr, ct.mean, ct.spread, ct.draws, further)
        features = self.reference.features(patient)
        features = {name: value for name, value in features.items() if np.isfinite(value)}
        facts = [*self.facts, *air_facts(ct), *(("header", sentence) for sentence in header)]
        return {"reference": self.digest, "features": features, "facts": facts}

    def verdict(self, record: Record, rays: Path | None, asked: AcceptRequest) -> Verdict:
        """The verdict by a record; `rays` is the file of the path lengths if they are judged."""
        facts = [(name, sentence) for name, sentence in record["facts"]]
        widths = _widths(rays) if rays else []
        return judge(self.reference, record["features"], facts, widths, limit_of(record, asked))


def limit_of(record: Record, asked: AcceptRequest) -> float | None:
    """The limit of path lengths, mm: the one asked for, or else that of the last verdict."""
    return record.get("range_limit_mm") if asked.limit is None else asked.limit


def judging_for(request: Request, networks: Sequence[Trained], draws: int) -> Judging | None:
    """A request's network with its reference; None for several networks or no usable reference.

    If the request asks for a verdict, both cases raise InputError.
    """
    workdir, asked = Path(request.workdirs[0]), request.accept is not None
    if len(networks) > 1:
        if asked:
            raise InputError(f"--accept takes one network, not {len(networks)}: leave it out.")
        return None
    if not asked and not (workdir / references.NAME).exists():
        return None
    try:
        return Judging.of(workdir, networks[0], request.sampler, draws)
    except InputError:
        if asked:
            raise
        return None


def kept(before: Record, record: Record, header_read: bool) -> Record:
    """The record, completed by an earlier record of the same volume.

    The limit of path lengths stays. Header reasons stay if no header was read this time. The
    verdict stays if it was made from the same figures.
    """
    plain = json.loads(json.dumps(record))  # with lists in place of tuples, as in the file
    if not header_read:
        plain["facts"] += [fact for fact in before.get("facts", []) if fact[0] == "header"]
    if all(before.get(key) == value for key, value in plain.items()):
        return before | plain
    return plain | {key: before[key] for key in ("range_limit_mm",) if key in before}


def concluded(folder: Path, name: str, judging: Judging, asked: AcceptRequest) -> Verdict:
    """Judge a volume by its sidecar; write the verdict to the sidecar and `acceptance/NAME.html`.

    Call this inside `volume_locked`.

    Raises InputError if the sidecar holds no figures by this reference, or if the CT, its spread or
    the path lengths that are judged are missing or were changed.
    """
    path = folder / f"{name}.json"
    sidecar = read_json(path)
    record = sidecar.get(KEY) or {}
    if record.get("reference") != judging.digest:
        raise InputError(
            f"{path} holds no figures by the reference of this network, because the CT was made "
            "before the fit: give launch/accept.py the MR too (--mr), or synthesize to another "
            "--output."
        )
    require_ct(folder, name, sidecar)
    rays = path_lengths(folder, name, sidecar, limit_of(record, asked))
    verdict = judging.verdict(record, rays, asked)
    sidecar[KEY] = {key: record[key] for key in ("reference", "features", "facts")}
    sidecar[KEY] |= verdict.to_json() | {"range_limit_mm": limit_of(record, asked)}
    write_json(path, sidecar)
    page = folder / "acceptance" / f"{name}.html"
    page.parent.mkdir(exist_ok=True)
    asked.save_page(page, name, verdict, folder / "sct" / f"{name}.nii.gz", sidecar)
    return verdict


def warnings_of(folder: Path, name: str) -> tuple[str, ...]:
    """The warnings in a volume's sidecar, and one for each CT series with another verdict."""
    sidecar = read_json(folder / f"{name}.json")
    record = sidecar.get(KEY) or {}
    limit, word = record.get("range_limit_mm"), record.get("verdict")
    others = contradictions(folder, name, sidecar, word, limit) if word else ()
    return (*(sidecar.get("warnings") or ()), *others)


def require_ct(folder: Path, name: str, sidecar: Record) -> None:
    """Raise InputError if the CT or spread that the sidecar lists is missing or was changed."""
    for kind in ("sct", "sct_std"):
        unchanged(folder, f"{kind}/{name}.nii.gz", sidecar)


def path_lengths(folder: Path, name: str, sidecar: Record, limit: float | None) -> Path | None:
    """The file of a volume's path lengths; None if no limit is set for them.

    Raises InputError if there is a limit and the sidecar lists no such file, or as `unchanged`.
    """
    if limit is None:
        return None
    if rays := unchanged(folder, paths(name)[1], sidecar):
        return rays
    raise InputError(
        f"{name} has no path lengths, which --range_limit judges: synthesize it with --rays and "
        "--target."
    )


def unchanged(folder: Path, output: str, sidecar: Record) -> Path | None:
    """The path of an output; None if the sidecar does not list it.

    Raises InputError if the file is missing, or is not the one that was written.
    """
    path, digest = folder / output, (sidecar.get(RESULTS) or {}).get(output)
    if digest is None:
        return None
    if not path.is_file():
        raise InputError(f"{path} is missing: synthesize it again.")
    if sha256(path) != digest:
        raise InputError(
            f"{path} has changed since it was written: move it elsewhere and synthesize it again."
        )
    return path


def _widths(rays: Path) -> list[tuple[str, float]]:
    """The name and the width (mm) of each interval in a table of path lengths."""
    try:
        rows = [RangeRow(**row) for row in read_json(rays)["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{rays} is missing or damaged: synthesize the volume again, with --rays."
        ) from None
    return [
        (f"from gantry {row.name}°" if row.gantry is not None else row.name, row.upper - row.lower)
        for row in rows
        if row.lower is not None and row.upper is not None
    ]
