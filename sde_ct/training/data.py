"""The slices or slabs of a prepared data set that a configuration asks for, and their batches."""

from typing import Any

import grain
import jax
import numpy as np

from sde_ct.config import DataConfig
from sde_ct.data import acquisition, seen, through_plane
from sde_ct.data.dataset import Slices, fit_intensity, train_iterator
from sde_ct.data.intensity import HUWindow, Intensity, RobustMR, SliceMinMax
from sde_ct.data.prepared import Prepared
from sde_ct.data.slabs import Slabs, as_slices
from sde_ct.errors import InputError
from sde_ct.types import Batch


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


def describe(config: DataConfig, prepared: Prepared) -> dict[str, Any]:
    """What synthesis must know about the training data; stored with the checkpoints."""
    cases = prepared.of("train")
    mr = np.array([list(case.percentiles.values()) for case in cases])
    return {
        "source": prepared.source,
        "spacing": prepared.spacing,
        "size": prepared.size,
        **({"n4": True} if prepared.n4 else {}),  # older records do not name it
        "split": prepared.split,
        "contrasts": list(prepared.contrasts),
        "intensity": intensity_of(config, prepared).to_json(),
        "mr_percentiles": {
            str(p): float(v) for p, v in zip(cases[0].percentiles, np.median(mr, 0), strict=True)
        },
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
