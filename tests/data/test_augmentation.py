"""Augmentation moves all images of an example by one map, and keeps their values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sde_ct.data.augmentation import augment, deformed

SEEDS = st.integers(0, 2**32 - 1)
SIDE = 48
ROWS, COLUMNS = np.indices((SIDE, SIDE), np.float32)[..., None]
PLACES = {"mr": ROWS, "ct": COLUMNS, "valid": np.ones_like(ROWS)}
NONE = {"flip": False, "rotate90": False, "deform": 0.0}


@given(SEEDS, st.booleans(), st.booleans())
def test_mirroring_and_turning_move_all_fields_alike(seed, flip, rotate90):
    image = np.arange(36.0, dtype=np.float32).reshape(6, 6, 1)
    example = {"mr": np.concatenate([image, image + 50], -1), "ct": image, "mask": image}
    rng = np.random.default_rng(seed)
    moved = augment(example, rng, flip=flip, rotate90=rotate90, deform=0.0)
    np.testing.assert_array_equal(moved["mr"][..., :1], moved["ct"])
    np.testing.assert_array_equal(moved["mr"][..., 1:], moved["ct"] + 50)
    views = [np.rot90(image, k) for k in range(4 if rotate90 else 1)]
    views += [view[:, ::-1] for view in views] if flip else []
    assert any(np.array_equal(moved["ct"], view) for view in views)


def test_each_change_is_made_in_half_of_the_examples():
    image = {"ct": np.float32([[0, 1], [2, 3]])[..., None]}
    rng = np.random.default_rng(0)

    def views(**options) -> list[np.ndarray]:
        return [augment(image, rng, **NONE | options)["ct"] for _ in range(2000)]

    firsts = [view[0, 0, 0] for view in views(rotate90=True)]
    # Upright in 1/2 of the draws, each turn in 1/6: four standard errors of 0.011.
    counts = np.array([firsts.count(v) for v in (0.0, 1.0, 2.0, 3.0)]) / 2000
    np.testing.assert_allclose(counts, [1 / 2, 1 / 6, 1 / 6, 1 / 6], atol=0.045)
    for option in ({"flip": True}, {"deform": 1.0}):
        changed = [not np.array_equal(view, image["ct"]) for view in views(**option)]
        np.testing.assert_allclose(np.mean(changed), 0.5, atol=0.045)


def places(seed: int, example=PLACES, strength=1.0) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel comes from, [h, w, 2] in pixels, and whether it is valid."""
    moved = deformed(example, np.random.default_rng(seed), strength)
    return np.concatenate([moved["mr"], moved["ct"]], -1), moved["valid"][..., 0] == 1


@settings(max_examples=200)
@given(SEEDS)
def test_a_deformation_is_smooth_and_does_not_fold(seed):
    place, valid = places(seed)
    down, right = np.diff(place, axis=0)[:, :-1], np.diff(place, axis=1)[:-1]
    area = down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]
    kept = valid[:-1, :-1] & valid[1:, :-1] & valid[:-1, 1:]
    # Scales have a standard deviation of 10 % along each axis, and the warp adds as much.
    assert area[kept].min() > 0.2 and area[kept].max() < 3


@given(SEEDS)
def test_pixels_from_outside_or_beside_invalid_ones_are_invalid(seed):
    holed = {**PLACES, "valid": (np.abs(ROWS - 20) > 3).astype(np.float32)}
    place, valid = places(seed, holed)
    rows, columns = place[..., 0], place[..., 1]
    # A tenth of a pixel for the precision of splines and of the threshold near the border.
    inside = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) <= SIDE - 1)
    assert not valid[~inside].any()
    assert not valid[np.abs(rows - 20) < 3.9].any()
    deep = (np.minimum(rows, columns) > 0.1) & (np.maximum(rows, columns) < SIDE - 1.1)
    assert valid[deep & (np.abs(rows - 20) > 4.1)].all()


@given(SEEDS)
def test_contrasts_and_ct_move_alike(seed):
    image = np.random.default_rng(seed).normal(size=(24, 32, 1)).astype(np.float32)
    example = {"mr": np.concatenate([2 * image, image - 1], -1), "ct": image}
    moved = deformed(example, np.random.default_rng(seed))
    # Sums of 16 products in single precision.
    np.testing.assert_allclose(moved["mr"][..., 0], 2 * moved["ct"][..., 0], atol=1e-5)
    np.testing.assert_allclose(moved["mr"][..., 1], moved["ct"][..., 0] - 1, atol=1e-5)
    assert moved["ct"].min() >= image.min() and moved["ct"].max() <= image.max()
    assert all(moved[key].dtype == np.float32 for key in moved)


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_deformations_differ_and_have_the_stated_size(strength):
    centres = []
    for seed in range(400):
        place, _ = places(seed, strength=strength)
        centres.append(place[SIDE // 2, SIDE // 2] - SIDE / 2)
    # The shift is 2 % of the side, 0.96 pixels; the warp adds less than the same once more.
    spread = np.std(centres, axis=0) / strength
    assert (spread > 0.9).all() and (spread < 1.4).all()
    assert np.abs(np.mean(centres, axis=0)).max() < 4 * 1.4 * strength / np.sqrt(400)


@pytest.mark.parametrize("width, least", [(0.7, 0.95), (0.0, 0.75)])
def test_noise_keeps_its_size(width, least):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(96, 96))
    noise = (gaussian_filter(noise, width) if width else noise)[..., None].astype(np.float32)
    example = {"mr": noise, "ct": noise, "valid": np.ones_like(noise)}
    kept = [deformed(example, rng)["ct"].std() / noise.std() for _ in range(20)]
    # White noise loses what no interpolation can keep; noise of a real voxel's width does not.
    assert least < np.mean(kept) < 1.02
