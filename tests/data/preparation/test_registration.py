"""A CT that was moved by a known amount is found again."""

import sys

import numpy as np
import pytest
from scipy import ndimage

from sde_ct.data.preparation import aligned, registration
from sde_ct.data.preparation.registration import Registered, mutual_information, register
from sde_ct.data.sources.patient import Patient
from sde_ct.errors import InputError
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.volume import Volume


def turned(degrees, shift) -> np.ndarray:
    """Turns about x, y and z, then a shift in mm."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = (
        np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    )
    matrix[:3, 3] = shift
    return matrix


@pytest.fixture(scope="module")
def patient():
    """Voxels of 6 x 6 x 7 mm."""
    return pelvis_patient(7, shape=(64, 52, 12), spacing=(6.0, 6.0, 7.0))


MOVED = {
    "near": ((3, -2, 5), (18, -11, 27)),
    # In another frame of reference, with less of the body in the MR than in the CT.
    "far": ((-2, 1, -4), (310, -240, 905)),
}


@pytest.mark.parametrize("name", MOVED)
def test_a_rigid_displacement_is_recovered(patient, name):
    """Within 1 mm on average over the body, a sixth of a voxel, and 1 degree."""
    moved = turned(*MOVED[name])
    some = slice(3, 10) if name == "far" else slice(None)
    affine = patient.mr.affine.copy()
    affine[:3, 3] += (some.start or 0) * affine[:3, 2]
    mr = Volume(patient.mr.array[..., some], affine, "a.u.")
    body = Volume(patient.mask.array[..., some], affine, "mask")
    ct = Volume(patient.ct.array, moved @ patient.ct.affine, "HU")
    found = register(ct, mr, body, "rigid")

    inside = np.argwhere(body.array > 0) @ affine[:3, :3].T + affine[:3, 3]
    gap = (found.matrix - moved)[:3, :3] @ inside.T + (found.matrix - moved)[:3, 3:]
    assert np.linalg.norm(gap, axis=0).mean() < 1.0
    turn = found.matrix[:3, :3] @ moved[:3, :3].T
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 1.0

    assert found.measured[body.array > 0].mean() > 0.99
    error = np.abs(found.ct.array - patient.ct.array[..., some])[body.array > 0]
    assert error.mean() < 15  # HU; before, 170 of those near
    shared, overlap = found.quality["mutual_information"], found.quality["body_dice"]
    assert shared["rigid"] > 4 * shared["before"] and overlap["after"] > 0.98
    if name == "far":  # again the same, but threads add in any order: 1e-4 HU was seen
        again = register(ct, mr, body, "rigid")
        np.testing.assert_allclose(again.ct.array, found.ct.array, atol=0.05)


def test_what_the_ct_did_not_measure_is_told(patient):
    """Half of the CT's slices are cut off, which is 42 mm of the body."""
    ct = Volume(patient.ct.array[..., :6], patient.ct.affine, "HU")
    found = register(ct, patient.mr, patient.mask, "rigid")
    lost = ~found.measured & (patient.mask.array > 0)
    assert lost[..., 7:].sum() == (patient.mask.array[..., 7:] > 0).sum()
    assert not lost[..., :5].any() and (found.ct.array[~found.measured] == -1024).all()


def test_padding_within_the_ct_is_not_measured(patient):
    """A round field of view, of which interpolation takes no part of the rim."""
    x, y, _ = np.indices(patient.ct.array.shape)
    disc = (x - 31.5) ** 2 + (y - 25.5) ** 2 <= 22**2
    hu = np.where(disc, patient.ct.array, -2000)
    ct = Volume(hu, turned(*MOVED["near"]) @ patient.ct.affine, "HU")
    found = register(ct, patient.mr, patient.mask, "rigid")
    assert "kept" not in found.quality and (found.ct.array[~found.measured] == -1024).all()
    inside = found.measured & (patient.mask.array > 0)
    assert found.ct.array[inside].min() > -1000  # tissue, gas; the mean with padding is below
    lost = (~found.measured)[patient.mask.array > 0].mean()
    assert lost == pytest.approx((~disc)[patient.mask.array > 0].mean(), abs=0.1)


def test_a_ct_that_lies_right_stays_there(patient):
    """A search ends near the place; the better of the two is taken."""
    found = register(patient.ct, patient.mr, patient.mask, "rigid")
    if "kept" in found.quality:
        assert found.quality["kept"] == "as given"
        np.testing.assert_array_equal(found.matrix, np.eye(4))
        np.testing.assert_array_equal(found.ct.array, patient.ct.array)
    shared = found.quality["mutual_information"]
    taken = shared["before" if "kept" in found.quality else "rigid"]
    assert taken == max(shared.values())
    gap = np.abs(found.ct.array - patient.ct.array)[patient.mask.array > 0]
    assert gap.mean() < 15


def test_deformable_without_elastix_says_what_to_install(patient, monkeypatch):
    monkeypatch.setitem(sys.modules, "itk", None)
    monkeypatch.setattr(registration, "_rigid", lambda *_: registration.sitk.Euler3DTransform())
    with pytest.raises(InputError, match=r"pip install '\.\[register\]'"):
        register(patient.ct, patient.mr, patient.mask, "deformable")


@pytest.mark.slow
def test_a_deformation_is_found_where_there_is_one_and_only_there(patient):
    """A bump of 12 mm and 90 mm width: a rigid motion leaves more of it than elastix does."""
    pytest.importorskip("itk", reason="deformable registration is an extra: .[register]")
    x, y, _ = np.indices(patient.ct.array.shape)
    bump = np.exp(-(((x - 34) * 6) ** 2 + ((y - 25.5) * 6) ** 2) / (2 * 90.0**2)) / 6
    places = np.indices(patient.ct.array.shape) + np.stack([10 * bump, -7 * bump, 0 * bump])
    bent = ndimage.map_coordinates(patient.ct.array, places, order=1, mode="nearest")
    inside = patient.mask.array > 0
    error = {}
    for kind in ("rigid", "deformable"):
        found = register(patient.ct.with_array(bent), patient.mr, patient.mask, kind)
        error[kind] = np.abs(found.ct.array - patient.ct.array)[inside].mean()
    # 61 HU before, 49 and 42 HU after: most of what is left are edges of bone a voxel wide.
    assert error["deformable"] < 0.93 * error["rigid"]
    assert 8 < found.quality["deformation_mm"]["greatest"] < 20
    assert found.quality["least_jacobian"] > 0.3 and "kept" not in found.quality
    shared = found.quality["mutual_information"]
    assert shared["before"] < shared["rigid"] < shared["deformable"]
    same = register(patient.ct, patient.mr, patient.mask, "deformable")
    assert same.quality["kept"] in ("rigid", "as given")


@pytest.mark.parametrize("kept", [{}, {"kept": "rigid"}])
def test_only_a_deformation_that_is_used_is_said_to_fold(patient, monkeypatch, kept):
    everywhere = np.ones(patient.mr.array.shape, bool)
    folded = Registered(patient.ct, everywhere, np.eye(4), {"least_jacobian": -0.1, **kept})
    monkeypatch.setattr(aligned, "register", lambda *_: folded)
    given = Patient(patient.mr, patient.ct, patient.mask, files={})
    warnings = aligned.aligned(given, "deformable").patient.warnings
    assert any("the deformation folds" in w for w in warnings) == (not kept)
    assert any("was not used (CT kept: rigid)" in w for w in warnings) == bool(kept)


def test_mutual_information():
    """ln of the number of equally likely values where one tells the other, 0 where nothing."""
    a = np.repeat(np.arange(8.0), 100)
    assert mutual_information(a, 3 * a + 1) == pytest.approx(np.log(8))
    assert mutual_information(a, np.tile(np.arange(100.0) % 4, 8)) == pytest.approx(0, abs=1e-12)
