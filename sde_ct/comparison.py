"""The paper's comparison on held-out patients: every method, single draws and averages."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.data.body import body_mask
from sde_ct.data.files import read_volume, write_volume
from sde_ct.data.grid import from_slices
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.lookup import Lookup, fit_lookup
from sde_ct.data.prepared import Prepared
from sde_ct.data.volume import Volume, canonical
from sde_ct.evaluation import figures
from sde_ct.evaluation.ambiguity import Outcomes, bone_like_draws, outcomes
from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import SAMPLERS, Row, row
from sde_ct.evaluation.uncertainty import evaluate_draws
from sde_ct.synthesis import Synthesizer, SyntheticCT, load

AIR = -1000.0  # HU, for what a lookup does not know: outside the body


class Entry(NamedTuple):
    """One method of the table: whose network it uses, and how it samples."""

    run: str  # ddpm | score | cnn | gan
    sampler: str | None


ENTRIES = {
    "CNN": Entry("cnn", None),
    "GAN": Entry("gan", None),
    "DDPM": Entry("ddpm", "ddpm"),
    "EM": Entry("score", "em"),
    "PC": Entry("score", "pc"),
    "ODE": Entry("score", "ode"),
    "DPM++": Entry("score", "dpm_sde"),
}


@dataclass(frozen=True)
class Patient:
    """A held-out patient; all volumes on the MR's grid."""

    id: str
    mr: Volume
    ct: Volume
    mask: Volume
    ambiguous: Volume | None  # where the phantom's MR allows two CT outcomes


def held_out(prepared: Prepared, part: str = "test") -> list[Patient]:
    """The patients of one part of the split, read from the files that were prepared."""
    patients = []
    for case in prepared.of(part):
        mr, ct = read_volume(case.files["mr"], "a.u."), read_volume(case.files["ct"], "HU")
        given = case.files["mask"]
        mask = read_volume(given, "mask") if given else body_mask(mr)
        ambiguous = Path(case.files["mr"]).with_name("ambiguous.nii.gz")
        region = read_volume(ambiguous, "mask") if ambiguous.exists() else None
        patients.append(Patient(case.id, mr, ct, mask, region))
    return patients


def lookup_control(prepared: Prepared) -> Lookup:
    """HU by MR intensity, from the body voxels of the training patients."""
    scaling, mr, hu = RobustMR(), [], []
    for case in prepared.of("train"):
        inside = case.load("mask") > 0
        mr.append(scaling.to_model(case.load("mr"), case.percentiles)[inside])
        hu.append(case.load("ct")[inside])
    return fit_lookup(np.concatenate(mr), np.concatenate(hu))


def apply_lookup(lookup: Lookup, patient: Patient, prepared: Prepared) -> SyntheticCT:
    """The lookup's CT: one draw, no network evaluation."""
    shown = network_input(
        patient.mr, RobustMR(), patient.mask, spacing=prepared.spacing, size=prepared.size
    )
    start = time.perf_counter()
    hu = np.where(shown.mask[..., 0] > 0, lookup.apply(shown.mr[..., 0]), AIR)
    seconds = (time.perf_counter() - start) / len(hu)
    ct = from_slices(hu, shown.grid, unit="HU", fill=AIR)
    return SyntheticCT((ct,), ct, None, 0.0, seconds, len(hu))


def synthesize_all(
    runs: Path,
    patients: Sequence[Patient],
    *,
    draws: int,
    seed: int,
    progress: Callable[[Iterable[Any], str], Iterable[Any]],
) -> dict[str, dict[str, SyntheticCT]]:
    """{method: {patient: synthetic CT}} for every entry of the table but the lookup.

    Args:
      runs: holds the work directories `ddpm`, `score`, `cnn` and `gan`.
      progress: wraps the batches of one volume; its second argument names it.
    """
    results: dict[str, dict[str, SyntheticCT]] = {}
    for name, entry in ENTRIES.items():
        synthesize = Synthesizer(load(runs / entry.run), entry.sampler)
        results[name] = {
            patient.id: synthesize(
                patient.mr,
                case=patient.id,
                draws=draws if entry.sampler else 1,
                seed=seed,
                mask=patient.mask,
                progress=lambda batches, label=f"{name} {patient.id}": progress(batches, label),
            )
            for patient in patients
        }
    return results


def rows_of(
    results: Mapping[str, Mapping[str, SyntheticCT]],
    patients: Sequence[Patient],
    protocol: Protocol,
) -> list[Row]:
    """A row a method and patient; samplers have two, the first draw and the average "-M"."""
    singles, averages = [], []
    for name, by_patient in results.items():
        for patient in patients:
            result = by_patient[patient.id]
            truth, mask = patient.ct.array, patient.mask.array > 0
            cost = {"nfe": result.evaluations, "seconds": result.seconds}
            single = evaluate_case(protocol, truth, result.draws[0].array, mask)
            singles.append(row(name, patient.id, single, **cost))
            if name in SAMPLERS:
                count = len(result.draws)
                draws = np.stack([draw.array for draw in result.draws])
                average = evaluate_case(protocol, truth, result.mean.array, mask)
                judged = evaluate_draws(draws, truth, mask)
                total = {key: count * value for key, value in cost.items()}
                averages.append(row(f"{name}-M", patient.id, average, uncertainty=judged, **total))
    return singles + averages


def ambiguity_of(
    results: Mapping[str, Mapping[str, SyntheticCT]], patients: Sequence[Patient]
) -> dict[str, Outcomes]:
    """Per sampler, how often the ambiguous region came out bone-like.

    Slices are drawn independently, so each slice of a draw is an outcome of its own.
    """
    found: dict[str, Outcomes] = {}
    for name in SAMPLERS:
        votes = []
        for patient in patients:
            if patient.ambiguous is None:
                continue
            draws = np.stack([draw.array for draw in results[name][patient.id].draws])
            region = patient.ambiguous.array > 0
            for z in np.flatnonzero(region.any(axis=(0, 1))):
                votes.append(bone_like_draws(draws[..., z : z + 1], region[..., z : z + 1]))
        if votes:
            found[name] = outcomes(np.concatenate(votes))
    return found


def write_volumes(results: Mapping[str, Mapping[str, SyntheticCT]], output: Path) -> None:
    """`sct/METHOD/PATIENT.nii.gz` and `sct_std/…`: what each method says, on the MR's grid, HU."""
    for name, by_patient in results.items():
        for patient, result in by_patient.items():
            volumes = {"sct": {name: result.draws[0]}, "sct_std": {}}
            if result.spread is not None:
                volumes["sct"][f"{name}-M"] = result.mean
                volumes["sct_std"][f"{name}-M"] = result.spread
            for kind, by_name in volumes.items():
                for method, volume in by_name.items():
                    path = output / kind / method / f"{patient}.nii.gz"
                    write_volume(path, volume, overwrite=True)


def pictures(
    results: Mapping[str, Mapping[str, SyntheticCT]], patient: Patient, output: Path
) -> None:
    """`comparison.png` and `uncertainty.png` of one patient's middle slice."""
    z = patient.mr.array.shape[2] // 2

    def cut(volume: Volume) -> np.ndarray:
        return canonical(volume).array[..., z].astype(np.float32)

    mr, ct, mask = cut(patient.mr), cut(patient.ct), cut(patient.mask) > 0
    shown = {name: cut(by[patient.id].draws[0]) for name, by in results.items()}
    shown |= {f"{name}-M": cut(results[name][patient.id].mean) for name in SAMPLERS}
    spacing = tuple(canonical(patient.mr).spacing[:2])
    figures.comparison(mr, ct, shown, mask, spacing=spacing).savefig(output / "comparison.png")
    maps = {
        name: (cut(result.spread), np.abs(cut(result.mean) - ct))
        for name in SAMPLERS
        if (result := results[name][patient.id]).spread is not None
    }
    if maps:
        figures.uncertainty(maps, ct, mask, spacing=spacing).savefig(output / "uncertainty.png")
