"""Air that an MR shows beyond doubt."""

import numpy as np
import pytest

from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.slice_grid import to_slices
from sde_ct.volumes.volume import Volume

MM = 5.0


def body(change=lambda mr: None) -> Volume:
    """An elliptic cylinder of 50 x 30 pixels in 80 x 60 with a dimmer core, in noise."""
    x, y, _ = np.meshgrid(np.arange(80) - 39.5, np.arange(60) - 29.5, np.arange(3), indexing="ij")
    radius = (x / 25) ** 2 + (y / 15) ** 2
    mr = np.select([radius < 0.5, radius < 1], [100.0, 200.0], 0.0)
    change(mr)
    mr += np.abs(np.random.default_rng(0).normal(0, 10, mr.shape))
    return Volume(mr.astype(np.float32), np.diag([MM, MM, MM, 1.0]), "a.u.")


def air(mr: Volume, **options) -> np.ndarray:
    return network_input(mr, RobustMR(), **options).air


def test_it_keeps_off_the_body_and_off_where_a_couch_may_lie():
    found = air(body())
    z, rows, columns = np.nonzero(found)
    # The body fills rows 15 to 44; 20 mm are 4 pixels.
    assert rows.min() == 15 + 5 and rows.max() == 44 - 5 and set(z) == {0, 1, 2}
    distance = np.hypot(columns - 39.5, rows - 29.5)
    assert distance.min() * MM > 75 + 20  # beyond the shortest half-axis and the margin
    assert found[:, 29, :10].all() and not found[:, 29, 12:68].any()  # half-axis 25, margin 4


def test_an_arm_is_no_air_and_neither_is_what_was_not_imaged():
    def arm(mr):
        mr[2:8, 25:35] = 150.0

    left, whole = air(body(arm)), air(body())
    assert not left[:, 26:34, :10].any() and whole[:, 26:34, :10].all()
    np.testing.assert_array_equal(left[:, :, 40:], whole[:, :, 40:])
    padded = air(body(), size=(80, 120))
    np.testing.assert_array_equal(padded[:, 10:70, 20:100], whole)
    assert padded.sum() == whole.sum()


@pytest.mark.parametrize("seed", range(3))
def test_the_true_ct_is_air_there(seed):
    patient = pelvis_patient(seed, shape=(128, 96, 6), spacing=(3.5, 3.5, 8.0))
    shown = network_input(patient.mr, RobustMR())
    hu = to_slices(patient.ct, shown.grid)[shown.air]
    assert hu.size > 500 and hu.max() < -900  # Gaussian noise of CT air is some 20 HU
