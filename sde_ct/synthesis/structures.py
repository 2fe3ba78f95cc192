"""Mean HU of structures in the draws of a synthetic CT, written beside it."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.whole import write_json
from sde_ct.synthesis.request import Measured, Request
from sde_ct.synthesis.sources import Source
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.uncertainty.recalibration import Recalibration
from sde_ct.uncertainty.structure_bounds import StructureBounds
from sde_ct.uncertainty.structure_table import lines, record, rows
from sde_ct.uncertainty.structures import StructureMean, structure_mean
from sde_ct.volumes.structures import structures_on
from sde_ct.volumes.volume import Volume, voxel_sha256

UNCALIBRATED = (
    "calibration.json holds no bounds of {}, so the interval is the range of the draws: remove the "
    "file and calibrate with --structures to have bounds."
)


class Structures(NamedTuple):
    """The structures of a request, with the bounds of its calibration if there are any."""

    folder: Path  # holds one folder for each MR, named after the MR
    bounds: StructureBounds | None
    calibrated: bool  # whether the request asks for bounds

    def of(self, source: Source, name: str, mr: Volume, frame: str) -> Measured:
        """The structures of one volume; `name` is the name of its results.

        Raises InputError as `structures_on`.
        """
        masks, notes = structures_on(self.folder / source.name, mr, source.path, frame)
        digests = {one: voxel_sha256(mask.array) for one, mask in masks.items()}
        path = f"structures/{name}.json"
        write = partial(self._write, path, float(np.prod(mr.spacing)), masks, notes)
        return Measured((path,), {"structures_sha256": digests}, write)

    def _write(
        self,
        path: str,
        voxel_mm3: float,
        masks: Mapping[str, Volume],
        notes: Sequence[str],
        folder: Path,
        ct: SyntheticCT,
    ) -> list[str]:
        inside = {name: mask.array > 0 for name, mask in masks.items()}
        table = rows(means_in(ct, inside), voxel_mm3, self.bounds)
        (folder / path).parent.mkdir(parents=True)
        write_json(folder / path, record(table, self.bounds))
        known = set(self.bounds.fitted) if self.bounds else set()
        unknown = [name for name in masks if name not in known] if self.calibrated else []
        return [
            *lines(table, self.bounds),
            *([UNCALIBRATED.format(", ".join(unknown))] if unknown else []),
            *(f"not measured: {note}" for note in notes),
        ]


def means_in(
    drawn: SyntheticCT, masks: Mapping[str, np.ndarray], ct: np.ndarray | None = None
) -> dict[str, StructureMean]:
    """`structure_mean` of each structure in the draws of a synthetic CT, by name."""
    draws = [draw.array for draw in drawn.draws]
    return {name: structure_mean(draws, mask, ct) for name, mask in masks.items()}


def structures_for(request: Request, draws: int, fitted: Recalibration | None) -> Structures | None:
    """The structures of a request, or None.

    Raises InputError if there is no spread.
    """
    if request.structures is None:
        return None
    if draws < 2:
        raise InputError(
            "--structures measures the spread of mean HU, and a single draw has none: give --draws "
            "of 2 or more, with a network and a sampler whose draws differ."
        )
    if fitted is None or not fitted.structures:
        return Structures(request.structures, None, fitted is not None)
    return Structures(request.structures, StructureBounds.from_json(fitted.structures), True)
