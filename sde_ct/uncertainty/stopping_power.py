"""Proton stopping power relative to water (RSP), by piecewise-linear tables of HU.

Planning systems hold such a table for each CT scanner and protocol. The stoichiometric calibration
(Schneider et al., Phys. Med. Biol. 41, 1996) determines it. The two tables of this module are the
defaults of open planning systems; `read_table` reads a hospital's own.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError

HEADER = ["HU", "RSP"]
AIR = -900.0  # HU; a table that begins above it would count air as tissue
LARGEST = 10.0  # RSP; implants of steel have 6


@dataclass(frozen=True)
class StoppingPower:
    """RSP at nodes of HU, linear between them and constant beyond the first and the last.

    Attributes:
        name: of the table, for reports and error messages.
        hu: of two or more nodes, increasing, the first at `AIR` or below.
        rsp: at the nodes, from 0 to `LARGEST`; water has 1.

    Raises:
        InputError: an attribute is not as above.
    """

    name: str
    hu: tuple[float, ...]
    rsp: tuple[float, ...]

    def __post_init__(self):
        hu, rsp = (np.asarray(column, float) for column in (self.hu, self.rsp))
        if hu.ndim != 1 or hu.shape != rsp.shape or hu.size < 2:
            fault = "it needs one RSP for each HU and at least two nodes"
        elif not (np.isfinite(hu).all() and np.isfinite(rsp).all()):
            fault = "a value is NaN or infinite: give finite numbers"
        elif (np.diff(hu) <= 0).any():
            fault = f"{hu[1:][np.diff(hu) <= 0][0]:g} HU does not exceed the HU before it: sort it"
        elif (rsp < 0).any() or (rsp > LARGEST).any():
            worst = rsp.min() if (rsp < 0).any() else rsp.max()
            fault = f"an RSP is {worst:g}: give values from 0 to {LARGEST:g}, relative to water"
        elif hu[0] > AIR:
            fault = f"it begins at {hu[0]:g} HU: add nodes for air, from {AIR:g} HU or below"
        else:
            return
        raise InputError(f"The stopping-power table '{self.name}' cannot be used: {fault}.")

    def __call__(self, hu: Shaped[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """The RSP of every voxel, float64."""
        return np.interp(hu, self.hu, self.rsp)


# `default_hlut` of pyRadPlan 0.5.0 (github.com/e0404/pyRadPlan, pyRadPlan/ct/_hlut.py).
PYRADPLAN = StoppingPower(
    "pyRadPlan",
    (-1024, -999, -90, -45, 0, 100, 350, 3000),
    (0.001, 0.001, 0.95, 0.99, 1.0, 1.095, 1.199, 2.505),
)
# matRad_default.hlut of matRad (Wieser et al., Med. Phys. 44, 2017; github.com/e0404/matRad). It
# gives 1.0045 at 0 HU, 4 % less than pyRadPlan's at -90 and at 449 HU, and 24 % more at 2048 HU.
MATRAD = StoppingPower(
    "matRad",
    (-1024, 200, 449, 2000, 2048, 3071),
    (0.00324, 1.2, 1.20001, 2.49066, 2.5306, 2.53061),
)


def read_table(path: str | os.PathLike) -> StoppingPower:
    """Read a table from a CSV file: a line `HU,RSP`, then a line with both numbers for each node.

    Raises:
        InputError: the file cannot be read, has another form, or `StoppingPower` refuses it.
    """
    path = Path(path)
    try:
        rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file: save the table as plain text.") from error
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        raise InputError(f"{path} does not begin with the line {','.join(HEADER)}: add it.")
    nodes = []
    for number, row in enumerate(rows[1:], start=2):
        if not "".join(row).strip():
            continue
        try:
            hu, rsp = map(float, row)
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: '{','.join(row)}' is not two numbers: write HU,RSP with "
                "decimal points."
            ) from error
        nodes.append((hu, rsp))
    hus, rsps = zip(*nodes, strict=True) if nodes else ((), ())
    return StoppingPower(os.fspath(path), hus, rsps)
