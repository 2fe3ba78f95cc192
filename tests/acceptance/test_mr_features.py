"""Each figure of an MR answers to the fault it is for."""

import numpy as np
import pytest

from sde_ct.acceptance.mr_features import mr_figures
from sde_ct.data.intensity import body_percentiles
from sde_ct.data.regions.body import body_mask
from sde_ct.lab.phantom.faults import FAULTS
from sde_ct.lab.phantom.pelvis import pelvis_patient


def figures(mr):
    return mr_figures(mr, body_percentiles(mr.array, body_mask(mr).array)).values


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(11, shape=(64, 48, 6), spacing=(6.25, 6.25, 13.0))


@pytest.mark.parametrize(
    ("fault", "figure", "factor"),
    [
        ("other spacing", "voxel_x", 1.4),
        ("cut off", "touching_x", 3),
        ("implant", "void", 2),
        ("ghosting at 30 %", "ghost", 2),
        ("bias field 20:1", "uneven", 1.5),
        ("noise", "noise", 2),
        ("zoomed by 1.3", "area", 1.25),
    ],
)
def test_a_fault_raises_its_figure(patient, fault, figure, factor):
    usual, faulty = figures(patient.mr)[figure], figures(FAULTS[fault].mr(patient))[figure]
    assert faulty > factor * max(usual, 0.01)


def test_suppressed_fat_still_belongs_to_the_body(patient):
    """The fat below the skin is 30 mm thick; the tolerance is three of the coarse voxels."""
    usual, faulty = figures(patient.mr), figures(FAULTS["fat-suppressed"].mr(patient))
    for name in ("width", "depth"):
        assert faulty[name] == pytest.approx(usual[name], abs=19), name


def test_noise_does_not_look_like_a_body_at_the_edges(patient):
    assert figures(FAULTS["noise"].mr(patient))["touching_y"] < 0.01


@pytest.mark.parametrize("fault", ["fat-suppressed", "noise", "cut off", "bias field 20:1"])
def test_a_ghost_is_seen_only_where_there_is_one(patient, fault):
    """Ghosts of 30 % give more than .02 on six other phantoms, and none of 80 without gave .01."""
    assert figures(FAULTS[fault].mr(patient))["ghost"] < 0.01


@pytest.mark.parametrize("number", [13, 15])
def test_the_dark_side_of_a_strong_coil_is_no_void(number):
    """Compared with the median of the whole body, these voids are 2.4 and 3.6 times the usual."""
    one = pelvis_patient(number, shape=(64, 48, 6), spacing=(6.25, 6.25, 13.0))
    usual, strong, implant = (
        figures(mr)["void"]
        for mr in (one.mr, FAULTS["bias field 20:1"].mr(one), FAULTS["implant"].mr(one))
    )
    assert strong < 1.3 * usual
    assert implant > 5 * usual


def test_empty_slices_are_counted(patient):
    assert figures(patient.mr)["empty"] == 0
    assert figures(FAULTS["empty slices"].mr(patient))["empty"] == pytest.approx(2 / 6)


def test_the_order_of_the_axes_in_a_file_changes_nothing(patient):
    mr = patient.mr
    turned = type(mr)(
        np.transpose(mr.array, (2, 0, 1))[:, ::-1].copy(),
        (mr.affine @ np.array([[0, -1, 0, 63], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])),
        "a.u.",
    )
    for name, value in figures(turned).items():
        assert value == pytest.approx(figures(mr)[name], rel=1e-6), name
