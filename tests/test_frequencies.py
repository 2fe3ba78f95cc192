"""Bands of spatial frequency."""

import numpy as np
import pytest

from sde_ct.frequencies import FREQUENCIES, nearest, shares


@pytest.mark.parametrize("size", [(24, 32), (7, 5), (1, 1), (512, 512)])
def test_shares_add_up_to_one(size):
    found = shares(*size)
    assert found.shape == (len(FREQUENCIES), *size) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=0), 1.0, rtol=1e-6)


def test_coefficients_belong_to_the_nearest_frequency():
    """Those of 64 pixels have the frequencies n/128; 1/16 and 1/8 meet at 0.088, or n = 11.3."""
    assert nearest(64, 64)[0, [0, 8, 11, 12, 16, 63]].tolist() == [0, 1, 1, 2, 2, 4]
