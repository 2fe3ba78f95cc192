"""Path lengths to a target in the draws of a synthetic CT, written beside it."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.data.regions.body import body_mask
from sde_ct.errors import InputError
from sde_ct.storage.whole import write_json
from sde_ct.synthesis.request import Measured, RayRequest, Request
from sde_ct.synthesis.sidecar import differences
from sde_ct.synthesis.sources import Source
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.uncertainty import recalibration
from sde_ct.uncertainty.range_bounds import RangeBounds
from sde_ct.uncertainty.range_table import csv_text, lines, record
from sde_ct.uncertainty.ranges import TargetRanges, target_ranges
from sde_ct.uncertainty.ray_plan import PlanRecord, RayPlan
from sde_ct.uncertainty.recalibration import Recalibration
from sde_ct.volumes.target import find_target, read_target
from sde_ct.volumes.volume import Volume, voxel_sha256

UNCALIBRATED = (
    "calibration.json holds no bounds of path lengths, so the interval is the range of the draws: "
    "remove the file and calibrate with --rays to have bounds."
)


class Planned(NamedTuple):
    """The rays of a request, with the bounds of its calibration if there are any."""

    request: RayRequest
    bounds: RangeBounds | None
    note: str  # empty if there is nothing to say

    def of(self, source: Source, name: str, mr: Volume, frame: str) -> Measured:
        """The path lengths of one volume; `name` is the name of its results.

        Raises InputError as `find_target` and `read_target`.
        """
        given = find_target(self.request.target, source.name)
        target = read_target(given, mr, source.name, frame)
        rays = self.request.plan.to_json() | {"target_sha256": voxel_sha256(target.array)}
        return Measured(paths(name), {"rays": rays}, partial(self._write, name, mr, target))

    def _write(
        self, name: str, mr: Volume, target: Volume, folder: Path, ct: SyntheticCT
    ) -> list[str]:
        ranges = ranges_in(ct, mr, target, self.request.plan, name=name)
        if self.bounds:
            ranges = self.bounds.apply(ranges)
        table, values, picture = (folder / path for path in paths(name))
        table.parent.mkdir(parents=True)
        table.write_text(csv_text({(): ranges.rows()}), "utf-8", newline="")
        write_json(values, record(ranges))
        self.request.save_fan(picture, ct.mean, target.array, ranges, name)
        return [*lines(ranges), *filter(None, [self.note])]


def paths(name: str) -> tuple[str, str, str]:
    """The paths of one volume's table, figures and picture, relative to the output."""
    return f"rays/{name}.csv", f"rays/{name}.json", f"rays/{name}.png"


def ranges_in(
    drawn: SyntheticCT, mr: Volume, target: Volume, plan: RayPlan, *, name: str, **options: Any
) -> TargetRanges:
    """`target_ranges` in the draws of a synthetic CT, within the body that the MR shows.

    Raises InputError as `target_ranges` does, with the name of the volume.
    """
    draws = [draw.array for draw in drawn.draws]
    try:
        return target_ranges(draws, target, plan, body_mask(mr).array, **options)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def rays_for(request: Request, draws: int, fitted: Recalibration | None) -> Planned | None:
    """The rays of a request, or None.

    Raises InputError if there is no spread, or if the calibration was fitted with other rays.
    """
    rays = request.rays
    if rays is None:
        return None
    if draws < 2:
        raise InputError(
            "--rays measures the spread of path lengths, and a single draw has none: give --draws "
            "of 2 or more, with a network and a sampler whose draws differ."
        )
    if fitted is None or not fitted.path_lengths:
        return Planned(rays, None, UNCALIBRATED if fitted else "")
    path = Path(request.workdirs[0]) / recalibration.NAME
    bounds = RangeBounds.from_json(fitted.path_lengths)
    wanted = _compared(rays.plan.to_json())
    if changed := differences(_compared(bounds.plan), wanted):
        raise InputError(
            f"{path} holds bounds of other path lengths ({changed[0]}): give --rays and "
            "--stopping_power as in the calibration, or leave out --calibrated."
        )
    return Planned(rays, bounds, "")


def _compared(plan: PlanRecord) -> dict[str, Any]:
    """A plan for comparison, without the order of its angles and the name of its table."""
    table = plan["stopping_power"]
    compared = {"hu": table["hu"], "rsp": table["rsp"]}
    return {"gantry": sorted(plan["gantry"]), "stopping_power": compared}
