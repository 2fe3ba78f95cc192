"""The user's settings for path lengths: gantry angles, and stopping powers by HU."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from sde_ct.errors import InputError
from sde_ct.uncertainty.stopping_power import MATRAD, PYRADPLAN, StoppingPower, read_table

TABLES = {"pyradplan": PYRADPLAN, "matrad": MATRAD}


class TableRecord(TypedDict):
    """The record of a `StoppingPower`."""

    name: str
    hu: list[float]
    rsp: list[float]


class PlanRecord(TypedDict):
    """The record of a `RayPlan`."""

    gantry: list[float]
    stopping_power: TableRecord


class RayPlan(NamedTuple):
    """The gantry angles of the rays in degrees (IEC 61217), and the stopping powers along them."""

    gantry: tuple[float, ...]
    table: StoppingPower

    def to_json(self) -> PlanRecord:
        """Plain values that identify the plan, without the folder of the table."""
        name, hu, rsp = Path(self.table.name).name, [*self.table.hu], [*self.table.rsp]
        return {"gantry": [*self.gantry], "stopping_power": {"name": name, "hu": hu, "rsp": rsp}}


def plan_of_flags(
    gantry: Sequence[str],
    table: str | None = None,
    *,
    target: str | None,
    needs_target: bool = True,
) -> RayPlan | None:
    """The plan of the flags --rays and --stopping_power; None without --rays.

    Args:
        target: the flag --target.
        needs_target: whether --rays needs --target.

    Raises:
        InputError: a flag has a wrong value, or a flag that it needs is missing.
    """
    if not gantry:
        if target or table:
            flag = "target" if target else "stopping_power"
            raise InputError(
                f"--{flag} works only with --rays: give gantry angles, or leave it out."
            )
        return None
    if needs_target and not target:
        raise InputError("--rays needs a target: give --target.")
    angles: list[float] = []
    for word in gantry:
        try:
            angle = float(word)
        except ValueError:
            angle = float("nan")
        if not 0 <= angle < 360:
            raise InputError(
                f"--rays: '{word}' is not a gantry angle: give degrees from 0 to below 360, with "
                "commas between them."
            )
        if any(abs(angle - one) < 1e-3 for one in angles):  # rows are named by six digits
            raise InputError(f"--rays holds the gantry angle {angle:g} twice: give it once.")
        angles.append(angle)
    name = table or "pyradplan"
    return RayPlan(tuple(angles), TABLES.get(name.casefold()) or read_table(name))
