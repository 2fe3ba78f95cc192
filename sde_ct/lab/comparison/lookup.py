"""The control that knows nothing but HU by MR brightness."""

import time

import numpy as np

from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.prepared import Prepared
from sde_ct.lab.comparison.brightness_table import Lookup, fit_lookup
from sde_ct.lab.comparison.patients import Patient
from sde_ct.synthesis import SyntheticCT
from sde_ct.volumes.slice_grid import from_slices

AIR = -1000.0  # HU, for what a lookup does not know: outside the body


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
