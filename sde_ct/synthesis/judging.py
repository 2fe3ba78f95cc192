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

    def verdict(self, record: Record, rays: Path, asked: AcceptRequest) -> Verdict:
        """The verdict by a record; `rays` is the file of the path lengths, if there is one."""
        limit = limit_of(record, asked)
        if limit is not None and not rays.exists():
            raise InputError(
                "--range_limit judges path lengths, and there are none: synthesize with --rays and "
                "--target."
            )
        facts = [(name, sentence) for name, sentence in record["facts"]]
        widths = _widths(rays) if limit is not None else []
        return judge(self.reference, record["features"], facts, widths, limit)


def limit_of(record: Record, asked: AcceptRequest) -> float | None:
    """The limit of path lengths, mm: the one asked for, or else that of the last verdict."""
    return record.get("range_limit_mm") if asked.limit is None else asked.limit


def judging_for(request: Request, networks: Sequence[Trained], draws: int) -> Judging | None:
    """The network of a request with its reference; None without a usable reference.

    If the request asks for a verdict, raises InputError as `Judging.of`, or for several networks.
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


def kept(sidecar: Path, record: Record) -> Record:
    """The record, with the sidecar's verdict if that was made from the same figures."""
    before = (read_json(sidecar).get(KEY) or {}) if sidecar.exists() else {}
    plain = json.loads(json.dumps(record))  # with lists in place of tuples, as in the file
    same = all(before.get(key) == value for key, value in plain.items())
    return before | record if same else record


def concluded(folder: Path, name: str, judging: Judging, asked: AcceptRequest) -> Verdict:
    """Judge a volume by its sidecar; write the verdict to the sidecar and `acceptance/NAME.html`.

    Raises InputError if the sidecar holds no figures by this reference.
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
    verdict = judging.verdict(record, folder / paths(name)[1], asked)
    sidecar[KEY] = {key: record[key] for key in ("reference", "features", "facts")}
    sidecar[KEY] |= verdict.to_json() | {"range_limit_mm": limit_of(record, asked)}
    write_json(path, sidecar)
    page = folder / "acceptance" / f"{name}.html"
    page.parent.mkdir(exist_ok=True)
    asked.save_page(page, name, verdict, folder / "sct" / f"{name}.nii.gz", sidecar)
    return verdict


def _widths(rays: Path) -> list[tuple[str, float]]:
    """The name and the width (mm) of the interval of every row of a table of path lengths."""
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
