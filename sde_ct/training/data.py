"""The slices or slabs of a prepared data set that a configuration asks for, and their batches."""

import json
from collections.abc import Sequence
from typing import Any

import grain
import jax
import numpy as np

from sde_ct.config import DataConfig
from sde_ct.data import acquisition, seen, through_plane
from sde_ct.data.dataset import Slices, fit_intensity, train_iterator
from sde_ct.data.intensity import HUWindow, Intensity, RobustMR, SliceMinMax
from sde_ct.data.prepared import Prepared, PreparedCase
from sde_ct.data.slabs import Slabs, as_slices
from sde_ct.errors import InputError
from sde_ct.types import Batch

VOXELS = "mr_voxels_sha256"  # in the record of a prepared patient, and by patient in `describe`
ALIKE = 1e-3  # largest relative difference of percentiles that versions of the preparation make


def intensity_of(config: DataConfig, prepared: Prepared) -> Intensity:
    """The forward and inverse intensity maps that the configuration names."""
    if config.intensity == "slice_minmax":
        return fit_intensity(Intensity(SliceMinMax(), SliceMinMax()), prepared)
    return Intensity(RobustMR(), HUWindow(config.hu_low, config.hu_high))


def examples_of(config: DataConfig, prepared: Prepared, split: str) -> Slices | Slabs:
    """Random access to the slices, or slabs of `config.slab` slices, of one split."""
    slices = Slices(
        prepared,
        split,
        intensity_of(config, prepared),
        neighbours=config.neighbours,
        contrasts=config.contrasts,
        z_slices=config.z_slices,
    )
    if config.slab == 1:
        return slices
    lengths = through_plane.correlation_lengths(prepared.of("train"))
    if lengths is None:
        raise InputError(
            f"{prepared.folder}: no training patient has two neighbouring slices with a body, "
            f"which config.data.slab={config.slab} needs: prepare other data."
        )
    return Slabs(slices, config.slab, lengths)


class TrainingBatches:
    """The endless stream of training batches; each process gets its share of every batch.

    The state of the stream is a small dictionary, the same on every process.
    """

    def __init__(self, config: DataConfig, prepared: Prepared, seed: int):
        self._source, self._seed = examples_of(config, prepared, "train"), seed
        self._batch_size, self._slab = config.batch_size, config.slab
        self._iterator = train_iterator(
            self._source,
            batch_size=config.batch_size,
            seed=seed,
            flip=config.flip,
            rotate90=config.rotate90,
            deform=config.deform,
            shard_index=jax.process_index(),
            shard_count=jax.process_count(),
        )

    def __next__(self) -> Batch:
        return Batch(**as_slices(next(self._iterator), self._slab))

    def cases(self, number: int) -> list[str]:
        """The examples of batch `number`, from 0, as "case:slice"."""
        # This is the order of `train_iterator`, which depends only on seed and number of examples.
        order = grain.MapDataset.range(len(self._source)).seed(self._seed).shuffle().repeat()
        first = number * self._batch_size
        rows = [self._source.where(order[first + i]) for i in range(self._batch_size)]
        return [f"{case}:{z}" for case, z in rows]

    def get_state(self) -> dict[str, Any]:
        return self._iterator.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._iterator.set_state(state)


def other_patients(described: dict[str, Any], prepared: Prepared) -> list[str]:
    """The names of training patients that belong to other MRs in `prepared`.

    Args:
      described: what `describe` recorded of the training data.
      prepared: any data, which may lack some of the training patients and hold further patients.
    """
    names = described["split"]["train"]
    cases = [prepared.cases[name] for name in names if name in prepared.cases]
    if then := described.get(VOXELS):
        now = _voxels(cases)
        return [name for name in now if name in then and now[name] != then[name]]
    return [] if _may_be_those(described, prepared, cases) else [case.id for case in cases]


def _may_be_those(
    described: dict[str, Any], prepared: Prepared, cases: Sequence[PreparedCase]
) -> bool:
    """Whether patients can be those of a record without hashes of the MRs, from earlier versions.

    It holds the medians of percentiles over all training patients, which depend on the settings of
    the preparation. Data without some of these patients, or with other settings, can't be
    compared, and may be those.
    """
    settings = {"size": prepared.size, "spacing": prepared.spacing, "n4": prepared.n4}
    recorded = {name: described.get(name, False) for name in settings}
    if len(cases) < len(described["split"]["train"]) or not cases:
        return True
    if json.loads(json.dumps(settings)) != json.loads(json.dumps(recorded)):
        return True
    now, then = _percentiles(cases), described.get("mr_percentiles", {})
    tolerance = ALIKE * max(now.values())
    return all(abs(now[p] - then[p]) <= tolerance for p in now.keys() & then.keys())


def _voxels(cases: Sequence[PreparedCase]) -> dict[str, str]:
    """The hashes of the patients' MRs, without those that an older prepared set lacks."""
    return {case.id: case.record[VOXELS] for case in cases if VOXELS in case.record}


def _percentiles(cases: Sequence[PreparedCase]) -> dict[str, float]:
    """The medians over patients of the percentiles of the first MR, a.u."""
    mr = np.array([list(case.percentiles.values()) for case in cases])
    return {str(p): float(v) for p, v in zip(cases[0].percentiles, np.median(mr, 0), strict=True)}


def describe(config: DataConfig, prepared: Prepared) -> dict[str, Any]:
    """What synthesis must know about the training data; stored with the checkpoints."""
    cases = prepared.of("train")
    return {
        "source": prepared.source,
        "spacing": prepared.spacing,
        "size": prepared.size,
        **({"n4": True} if prepared.n4 else {}),  # older records do not name it
        "split": prepared.split,
        "contrasts": list(prepared.contrasts),
        "intensity": intensity_of(config, prepared).to_json(),
        "mr_percentiles": _percentiles(cases),
        VOXELS: _voxels(cases),
        "along_z_mm": through_plane.correlation_lengths(cases),
        "seen": seen.ranges([case.record["seen"] for case in cases])
        | {
            "positions": seen.positions([case.record for case in cases]),
            "acquisition": acquisition.summary(
                [case.record.get("acquisition") or {} for case in cases]
            ),
            "contrast": seen.contrast([case.percentiles for case in cases]),
        },
    }
