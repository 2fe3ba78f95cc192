"""3D similarity against its definition written out in plain loops, and by hand."""

import itertools
import math

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.ssim3d import MS_WEIGHTS, ms_ssim_3d, ssim_3d

LOW, HIGH = -1024.0, 3071.0
Q = HIGH - LOW
C1, C2 = (0.01 * Q) ** 2, (0.03 * Q) ** 2


def _pair(shape, seed=0, noise=400.0):
    """A smooth body with detail, and a prediction that is noisy and a little too dense."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    ct = 600 * np.cos(5 * grid[0]) * np.sin(4 * grid[1] + grid[2]) + rng.normal(0, 200, shape)
    mask = sum(g**2 for g in grid) < 1.6
    return ct, ct + 30 + rng.normal(0, noise, shape), mask


# --- The definitions, voxel by voxel, in Python's own numbers ---


def _shifted(volume, mask):
    out = np.zeros(volume.shape)
    for i in np.ndindex(volume.shape):
        if mask[i]:
            out[i] = min(max(float(volume[i]), LOW), HIGH) - LOW
    return out


def _moments(x, y, centre):
    """Means, sample variances and sample covariance of the 7³ voxels around the centre."""
    near = list(itertools.product(*(range(c - 3, c + 4) for c in centre)))
    a, b = [float(x[i]) for i in near], [float(y[i]) for i in near]
    mx, my = math.fsum(a) / 343, math.fsum(b) / 343
    vx = math.fsum((p - mx) ** 2 for p in a) / 342
    vy = math.fsum((p - my) ** 2 for p in b) / 342
    cov = math.fsum((p - mx) * (q - my) for p, q in zip(a, b, strict=True)) / 342
    return mx, my, vx, vy, cov


def _inner(mask):
    return [
        i
        for i in np.ndindex(mask.shape)
        if mask[i] and all(3 <= c < n - 3 for c, n in zip(i, mask.shape, strict=True))
    ]


def _loop_ssim(ct, sct, mask):
    x, y, values = _shifted(ct, mask), _shifted(sct, mask), []
    for centre in _inner(mask):
        mx, my, vx, vy, cov = _moments(x, y, centre)
        values.append((2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2)))
    return math.fsum(values) / len(values)


def _planes(volume, axis, plane):
    """A volume built plane by plane along one axis: `plane(planes)` lists the new ones."""
    return np.stack(plane(list(np.moveaxis(volume, axis, 0))), axis)


def _loop_pad(volume):
    """Each plane beyond a face is the face's, until there are 97."""

    def padded(planes):
        planes = list(planes)
        missing = max(0, 97 - len(planes))
        for n in range(missing):  # an odd one out goes to the end
            planes.insert(0, planes[0]) if n < missing // 2 else planes.append(planes[-1])
        return planes

    for axis in range(3):
        volume = _planes(volume, axis, padded)
    return volume


def _loop_half(volume):
    def halved(planes):
        before = [0 * planes[0], *planes]  # before[i] is plane i - 1
        return [(before[i] + planes[i]) / 2 for i in range(0, len(planes), 2)]

    for axis in range(3):
        volume = _planes(volume, axis, halved)
    return volume


def _loop_ms_ssim(ct, sct, mask):
    x, y, mask = (_loop_pad(v) for v in (_shifted(ct, mask), _shifted(sct, mask), mask))
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            x, y = _loop_half(x), _loop_half(y)
            for axis in range(3):
                mask = _planes(mask, axis, lambda planes: planes[::2])
        values = []
        for centre in _inner(mask):
            mx, my, vx, vy, cov = _moments(x, y, centre)
            sx, sy = math.sqrt(max(vx, 0)), math.sqrt(max(vy, 0))
            light = max((2 * mx * my + C1) / (mx**2 + my**2 + C1), 0)
            contrast = max((2 * sx * sy + C2) / (sx**2 + sy**2 + C2), 0)
            structure = max((cov + C2 / 2) / (sx * sy + C2 / 2), 0)
            values.append(light**weight * contrast**weight * structure**weight)
        product *= min(max(math.fsum(values) / len(values), 0.0), 1.0)
    return product


@pytest.mark.parametrize("shape", [(11, 9, 8), (7, 12, 7)])
def test_ssim_against_plain_loops(shape):
    ct, sct, mask = _pair(shape)
    # 1e-9: double precision on both sides, only the order of sums differs.
    assert ssim_3d(ct, sct, mask, LOW, HIGH) == pytest.approx(_loop_ssim(ct, sct, mask), rel=1e-9)


@pytest.mark.parametrize("shape", [(100, 14, 9), (97, 8, 98)])
def test_ms_ssim_against_plain_loops(shape):
    """Axes longer than 97 and padded ones, of odd and of even length."""
    ct, sct, _ = _pair(shape, seed=1, noise=1200)
    mask = np.zeros(shape, bool)  # a block round voxel 48 of 97, which every scale keeps
    near = [(n // 2, half) for n, half in zip(shape, (20, 5, 5), strict=True)]
    mask[tuple(slice(max(1, c - half), min(2 * c - 1, c + half)) for c, half in near)] = True
    expected = _loop_ms_ssim(ct, sct, mask)
    assert 0.05 < expected < 0.95  # no factor hides behind 0 or 1
    assert ms_ssim_3d(ct, sct, mask, LOW, HIGH) == pytest.approx(expected, rel=1e-9)


# --- By hand ---


def test_ssim_of_a_shift_by_hand():
    """Flat images of a body that fills the volume: only luminance is left."""
    ct = np.full((9, 9, 9), -24.0)
    mask = np.ones(ct.shape, bool)
    expected = (2 * 1000 * 1100 + C1) / (1000**2 + 1100**2 + C1)
    assert ssim_3d(ct, ct + 100, mask, LOW, HIGH) == pytest.approx(expected, rel=1e-12)


def test_ssim_at_the_edge_of_the_mask_by_hand():
    """A flat body from x = 6 on: its first voxel's window holds 4 of 7 layers of it, else 0."""
    ct = np.full((13, 7, 7), -24.0)
    mask = np.zeros(ct.shape, bool)
    mask[6:] = True
    values = []
    for inside in (4, 5, 6, 7):  # voxels x = 6, 7, 8, 9; three more are cropped
        p = inside / 7  # share of the window inside the body
        var = p * (1 - p) * 343 / 342
        mx, my = 1000 * p, 1100 * p
        vx, vy, cov = 1000**2 * var, 1100**2 * var, 1000 * 1100 * var
        values.append((2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2)))
    got = ssim_3d(ct, ct + 100, mask, LOW, HIGH)
    assert got == pytest.approx(sum(values) / 4, rel=1e-9)


def test_one_voxel_by_hand():
    """A mask of one voxel: each window holds one voxel v and 342 zeros."""
    ct, sct = np.full((7, 7, 7), -24.0), np.full((7, 7, 7), 976.0)
    mask = np.zeros(ct.shape, bool)
    mask[3, 3, 3] = True
    a, b = 1000.0, 2000.0
    mx, my = a / 343, b / 343
    var = (1 / 343) * (342 / 343) * 343 / 342
    vx, vy, cov = a * a * var, b * b * var, a * b * var
    expected = (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))
    assert ssim_3d(ct, sct, mask, LOW, HIGH) == pytest.approx(expected, rel=1e-9)
    # Of MS-SSIM's scales the voxel, at 48 of 97, survives all five: 48 = 3 · 16.
    product = 1.0
    for scale, weight in enumerate(MS_WEIGHTS):
        # Halved, its value shares with seven zeros, and it lies at 48, 24, 12, 6, 3.
        a, b = 1000 / 8**scale, 2000 / 8**scale
        sx, sy = math.sqrt(a * a * var), math.sqrt(b * b * var)
        mx, my = a / 343, b / 343
        light = (2 * mx * my + C1) / (mx**2 + my**2 + C1)
        contrast = (2 * sx * sy + C2) / (sx**2 + sy**2 + C2)
        product *= (light * contrast) ** weight  # structure is 1: y = 2 x
    volume = np.full((97, 97, 97), -24.0)
    single = np.zeros(volume.shape, bool)
    single[48, 48, 48] = True
    assert ms_ssim_3d(volume, volume + 1000, single, LOW, HIGH) == pytest.approx(product, rel=1e-9)


def test_padding_by_hand():
    """12 voxels become 97 by 42 copies of the first and 43 of the last, body and mask alike."""
    ct, sct, mask = _pair((12, 12, 12))
    mask[0] = mask[-1] = True

    def padded(before):
        index = np.clip(np.arange(97) - before, 0, 11)
        every = np.ix_(index, index, index)
        return ms_ssim_3d(ct[every], sct[every], mask[every], LOW, HIGH)

    got = ms_ssim_3d(ct, sct, mask, LOW, HIGH)
    assert got == pytest.approx(padded(42), rel=1e-12)
    assert abs(got - padded(43)) > 1e-6


@pytest.mark.parametrize("measure", [ssim_3d, ms_ssim_3d])
def test_equal_images_score_one_and_only_the_body_counts(measure):
    ct, sct, mask = _pair((20, 16, 14))
    assert measure(ct, ct, mask, LOW, HIGH) == pytest.approx(1, abs=1e-12)
    value = measure(ct, sct, mask, LOW, HIGH)
    assert 0 < value < 1
    for outside in (5000.0, np.nan, np.finfo(np.float32).min):
        assert measure(ct, np.where(mask, sct, outside), mask, LOW, HIGH) == value
    assert measure(ct, sct + 9000, mask, LOW, HIGH) == pytest.approx(
        measure(ct, np.full_like(ct, HIGH), mask, LOW, HIGH), abs=1e-12
    )  # clipped first


@pytest.mark.parametrize("measure", [ssim_3d, ms_ssim_3d])
def test_masks_that_cannot_be_scored(measure):
    ct, sct, mask = _pair((12, 12, 12))
    with pytest.raises(InputError, match="mask is empty"):
        measure(ct, sct, np.zeros_like(mask), LOW, HIGH)
    with pytest.raises(InputError, match="prediction holds NaN"):
        measure(ct, np.full_like(ct, np.nan), mask, LOW, HIGH)
    with pytest.raises(InputError, match="has shape"):
        measure(ct, sct[1:], mask, LOW, HIGH)


def test_masks_at_the_faces_and_thin_volumes_are_refused():
    ct, sct, mask = _pair((12, 12, 12))
    face = np.zeros_like(mask)
    face[:3] = True
    with pytest.raises(InputError, match="no voxel whose window"):
        ssim_3d(ct, sct, face, LOW, HIGH)
    with pytest.raises(InputError, match="12 x 12 x 6 voxels"):
        ssim_3d(ct[..., :6], sct[..., :6], mask[..., :6], LOW, HIGH)
    odd = np.zeros_like(mask)
    odd[6, 6, 6] = True  # at 48 of 97 on each axis, where (97 - 12) // 2 = 42
    assert ms_ssim_3d(ct, sct, odd, LOW, HIGH) < 1
    with pytest.raises(InputError, match="49 x 49 x 49 voxels"):
        ms_ssim_3d(ct, sct, np.roll(odd, 1, axis=0), LOW, HIGH)  # at 49: no other scale has it
