"""Bodies and their overlap; a volume on another grid."""

import numpy as np
import pytest

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(3, shape=(48, 40, 6), spacing=(8.0, 8.0, 12.0))


def test_the_body_of_a_ct_is_that_of_the_phantom_without_the_couch(patient):
    """Voxels of skin that hold more air than tissue may differ: a Dice of 0.98."""
    hu = patient.ct.array.copy()
    hu[:, :2] = 200  # a couch below, apart from the body
    middle = tuple(np.argwhere(patient.mask.array > 0).mean(axis=0).astype(int))
    hu[middle] = -900  # gas in the bowel belongs to the body
    body = ct_body(patient.ct.with_array(hu))
    assert dice(body.array, patient.mask.array) > 0.98 and not body.array[:, :2].any()
    assert body.array[middle]
    assert not ct_body(patient.ct.with_array(np.full_like(hu, -1000))).array.any()


COUCHES = {  # height of the upper surface above the body's lowest voxel, voxels; HU below it
    "flat": lambda x, z: 0 * x,
    "curved": lambda x, z: np.rint(4 * x**2),
    "along a tilted grid": lambda x, z: np.rint(z),
}


@pytest.mark.parametrize("shell", [False, True])
@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("name", COUCHES)
def test_a_couch_that_touches_the_body_is_left_out(name, side, shell):
    """Below a supine and a prone patient. Voxels at the contact may differ: a Dice of 0.99, while
    with the couch it is at most 0.95."""
    one = pelvis_patient(3, shape=(96, 80, 8), spacing=(4.0, 4.0, 8.0)).ct
    alone = ct_body(one).array > 0
    room = ((30, 30), (12, 12), (0, 0))
    hu = np.pad(one.array, room, constant_values=-1000)[:, ::side]
    body = np.pad(alone, room)[:, ::side]
    x, y, z = np.indices(hu.shape)
    lowest = np.flatnonzero(body.any(axis=(0, 2)))[0]
    middle, last = (hu.shape[0] - 1) / 2, hu.shape[2] - 1
    top = lowest + COUCHES[name](x / middle - 1, z / last * 2 - 1)
    couch = (y <= top) & (y > top - 8) & (abs(x - middle) < 70) & ~body
    core = couch & (y < top) & (y > top - 7) if shell else couch & False
    noise = np.random.default_rng(0).normal(0, 15, hu.shape)
    hu = np.where(core, -920 + noise, np.where(couch, 100 + noise, hu))
    found = ct_body(one.with_array(hu[:, ::side])).array[:, ::side] > 0
    assert dice(found, body) > 0.99
    whole = (hu > -400) | core  # what the threshold and the filling of holes take
    assert dice(whole, body) < 0.95


def test_a_body_without_a_couch_stays_whole(patient):
    """Of patients of several sizes, with arms of 70 mm beside them, and of a flat-topped box."""
    for seed in range(4):
        one = pelvis_patient(seed, shape=(96, 80, 8), spacing=(4.0, 4.0, 8.0))
        hu = one.ct.array.copy()
        x, y, _ = np.indices(hu.shape)
        body = ct_body(one.ct).array > 0
        row = int(np.argwhere(body)[:, 1].min()) + 9
        left = int(np.argwhere(body[:, row])[:, 0].min())
        arm = np.hypot(x - left + 4, y - row) * 4 < 35
        hu[arm] = np.maximum(hu[arm], 30)
        found = ct_body(one.ct.with_array(hu)).array > 0
        assert (found >= (body | (arm & (hu > -400)))).all()
    box = np.full((40, 40, 6), -1000.0)
    box[4:36, 4:36] = 50
    assert ct_body(patient.ct.with_array(box)).array.sum() == 32 * 32 * 6


def test_dice():
    a, b = np.array([1, 1, 0, 0]), np.array([0, 1, 1, 1])
    assert dice(a, b) == 2 * 1 / 5 and dice(a, a) == 1.0 and dice(a * 0, b * 0) == 0.0


def test_a_linear_field_survives_another_grid():
    """Linear interpolation is exact on it, to the rounding of float32; outside is filled."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    affine, like = np.eye(4), np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (2.0, 1.5, 3.0), (5.0, -3.0, 9.0)
    like[:3, :3], like[:3, 3] = np.diag([1.7, 2.1, 2.4]), affine[:3] @ [12, 14, 7, 1] - 8
    slope = np.array([3.0, -2.0, 1.0])

    def field(shape, affine):
        index = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
        return ((index @ affine.T)[..., :3] @ slope).astype(np.float32)

    volume = Volume(field((24, 28, 14), affine), affine, "a.u.")
    other = Volume(np.empty((9, 8, 7), np.uint8), like, "a.u.")
    found = resample_on(volume, other, fill=-7.0).array
    np.testing.assert_allclose(found, field((9, 8, 7), like), atol=1e-3)
    far = Volume(other.array, like + 500 * np.eye(4, k=3), "a.u.")
    assert (resample_on(volume, far, fill=-7.0).array == -7.0).all()
    same = resample_on(volume, volume, fill=0.0).array
    np.testing.assert_allclose(same, volume.array, atol=1e-3)
