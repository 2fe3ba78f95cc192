"""The control that every learned method must beat: a table from MR intensity to HU.

It uses no anatomy, so cortical bone and gas, which are both dark in MR, get the same HU.
"""

import time
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.lab.comparison.patients import Patient
from sde_ct.synthesis import SyntheticCT
from sde_ct.volumes.slice_grid import from_slices

AIR = -1000.0  # HU outside the body
BINS = 128


class Lookup(NamedTuple):
    """Knots of a piecewise linear map from MR intensity (increasing) to HU."""

    mr: Float[np.ndarray, " n"]
    hu: Float[np.ndarray, " n"]

    def apply(self, mr: Float[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """HU for every voxel, constant beyond the outermost knots."""
        return np.interp(mr, self.mr, self.hu).astype(np.float32)


def fit_lookup(
    mr_values: Float[np.ndarray, " n"], hu_values: Float[np.ndarray, " n"], bins: int = BINS
) -> Lookup:
    """A table with one knot per interval of MR intensity, at the median MR and the median HU.

    The median HU minimises the mean absolute error.

    Args:
        mr_values: MR of body voxels of the training patients, in the scale that `apply` expects.
        hu_values: CT of the same voxels, HU.
        bins: intervals with equal numbers of voxels; intervals that coincide because many voxels
            have one intensity are merged.

    Raises:
        InputError: there are no voxels, or some are not finite.
    """
    mr, hu = np.ravel(mr_values).astype(np.float64), np.ravel(hu_values).astype(np.float64)
    if mr.size == 0:
        raise InputError("The lookup table needs body voxels, and there are none: check the masks.")
    if not (np.isfinite(mr).all() and np.isfinite(hu).all()):
        raise InputError("The lookup's MR or CT voxels are NaN or infinite: repair the images.")
    order = np.argsort(mr, kind="stable")
    mr, hu = mr[order], hu[order]
    edges = np.unique(np.quantile(mr, np.linspace(0, 1, bins + 1)[1:-1]))
    # side="right" keeps equal intensities in one interval. Empty intervals are left out.
    parts = np.unique(np.searchsorted(mr, edges, side="right"))
    parts = parts[(parts > 0) & (parts < mr.size)]
    knots = ([np.median(part) for part in np.split(values, parts)] for values in (mr, hu))
    return Lookup(*map(np.array, knots))


def lookup_control(prepared: Prepared) -> Lookup:
    """The table fitted on the training patients' body voxels."""
    scaling, mr, hu = RobustMR(), [], []
    for case in prepared.of("train"):
        inside = case.load("mask") > 0
        mr.append(scaling.to_model(case.load("mr"), case.percentiles)[inside])
        hu.append(case.load("ct")[inside])
    return fit_lookup(np.concatenate(mr), np.concatenate(hu))


def apply_lookup(lookup: Lookup, patient: Patient, prepared: Prepared) -> SyntheticCT:
    """One patient's CT from the table, as a single draw without network evaluations."""
    shown = network_input(
        patient.mr, RobustMR(), spacing=prepared.spacing, size=prepared.size, n4=prepared.n4
    )
    start = time.perf_counter()
    hu = np.where(shown.body > 0, lookup.apply(shown.mr[..., 0]), AIR)
    seconds = (time.perf_counter() - start) / len(hu)
    ct = from_slices(hu, shown.grid, unit="HU", fill=AIR)
    return SyntheticCT((ct,), ct, None, 0.0, seconds, len(hu))
