"""The variance of several networks' draws, split."""

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import decompose


def test_variance_within_and_between_networks():
    rng = np.random.default_rng(6)
    shape, networks = (20, 20, 10), 6
    offsets = rng.normal(0, 15, (networks, *shape))
    members = [offset + rng.normal(0, 40, (5, *shape)) for offset in offsets]
    got = decompose(members)
    # Within: 4000 voxels of 6 x 4 degrees of freedom. Between: the variance of 6 means, of 225 +
    # 1600 / 5 = 545 a voxel, is known to 545 √(2 / (5 · 4000)) = 5.5.
    assert got.within.mean() == pytest.approx(1600, rel=0.02)
    assert got.between.mean() == pytest.approx(225, abs=4 * 5.5)
    alike = [draws - offset for draws, offset in zip(members, offsets, strict=True)]
    assert decompose(alike).between.mean() == pytest.approx(0, abs=4 * 3.2)
    for bad in (members[:1], [members[0], members[1][:4]], [members[0][..., 1:], members[1]]):
        with pytest.raises(InputError, match="at least 2 networks"):
            decompose(bad)
    with pytest.raises(InputError, match="at least 2 draws"):
        decompose([draws[:1] for draws in members])
