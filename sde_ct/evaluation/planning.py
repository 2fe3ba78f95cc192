"""Measure path lengths and structures in the draws of a case, against its real CT."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.evaluation.cases import DrawnCase
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.uncertainty.judgement import Judged
from sde_ct.uncertainty.ranges import target_ranges
from sde_ct.uncertainty.ray_plan import RayPlan
from sde_ct.uncertainty.structures import StructureMean, structure_mean
from sde_ct.volumes.structures import (
    find_structures,
    frame_of,
    read_masks,
    require_structures,
)
from sde_ct.volumes.target import find_target, path_of, read_target, require_targets
from sde_ct.volumes.volume import Volume


class Planning(NamedTuple):
    """What to measure in the draws besides their voxels.

    Attributes:
        plan: the rays; None for none.
        target: the rays' target as in `find_target`.
        structures: a folder with a folder of masks or RTSTRUCT files for each case; None for none.
    """

    plan: RayPlan | None
    target: str
    structures: Path | None

    def require_files(self, cases: Sequence[CaseFiles]) -> None:
        """Raise InputError as `require_targets` and `require_structures` do."""
        names = sorted({case.name for case in cases})
        if self.plan and names:
            require_targets(self.target, names)
        if self.structures and names:
            require_structures(self.structures, names)

    def places(self) -> list[Path]:
        """The files and folders that messages may name."""
        targets = [Path(self.target), path_of(self.target)] if self.plan else []
        return [*targets, *([self.structures] if self.structures else [])]

    def __call__(self, files: CaseFiles, judged: Judged, drawn: DrawnCase) -> Judged:
        """The scores `judged`, completed with the path lengths and structures of the case.

        Raises InputError if the target or a structure cannot be used.
        """
        notes: list[str] = []
        if self.plan:
            ranges = target_ranges(
                drawn.draws,
                self.target_of(files, drawn.ct),
                self.plan,
                drawn.body,
                ct=drawn.real,
                measured=drawn.measured,
            )
            judged = judged._replace(ranges=ranges)
            if ranges.unmeasured:
                notes.append(
                    f"the real CT did not measure {ranges.unmeasured} of {len(ranges.rays.gantry)} "
                    "rays over their full length; they are left out of the comparison."
                )
        if self.structures:
            structures, left_out = self._structures(files, drawn)
            judged = judged._replace(structures=structures)
            notes += [f"not measured: {one}" for one in left_out]
        return judged._replace(notes=(*judged.notes, *notes))

    def target_of(self, files: CaseFiles, ct: Volume) -> Volume:
        """The target of a case on the grid of its CT."""
        given = find_target(self.target, files.name)
        return read_target(given, ct, str(files.reference), frame_of(files.reference))

    def _structures(
        self, files: CaseFiles, drawn: DrawnCase
    ) -> tuple[Mapping[str, StructureMean], list[str]]:
        assert self.structures is not None
        found, _ = find_structures(self.structures / files.name, files.reference)
        masks, left_out = read_masks(found, drawn.ct, files.reference)
        means = {}
        for name, mask in masks.items():
            inside = (mask.array[..., drawn.z_slices] > 0) & drawn.measured
            if inside.any():
                means[name] = structure_mean(drawn.draws, inside.astype(np.uint8), drawn.real)
            else:
                left_out.append(
                    f"{name}, because the real CT did not measure it in the chosen slices"
                )
        return means, left_out
