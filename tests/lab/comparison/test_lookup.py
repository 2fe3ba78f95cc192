import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sde_ct.errors import InputError
from sde_ct.lab.comparison.lookup import fit_lookup


def test_medians_by_hand():
    mr = np.array([0.0, 0, 0, 1, 1, 2])
    hu = np.array([-10.0, 0, 40, 5, 7, 9])
    table = fit_lookup(mr, hu, bins=3)
    assert table.mr.tolist() == [0, 1, 2]
    assert table.hu.tolist() == [0, 6, 9]  # medians, not means
    assert table.apply(np.array([-5.0, 0.5, 2, 9])).tolist() == [0, 3, 9, 9]


def test_one_bin_is_the_best_constant():
    rng = np.random.default_rng(0)
    hu = rng.exponential(100, 501)
    table = fit_lookup(rng.normal(size=501), hu, bins=1)
    assert table.apply(np.zeros((2, 3))).tolist() == [[np.float32(np.median(hu))] * 3] * 2


def test_recovers_a_monotone_relation():
    rng = np.random.default_rng(0)
    mr = rng.uniform(-1, 1, 20000)
    hu = 500 * mr**2 + rng.normal(0, 20, mr.size)
    table = fit_lookup(mr, hu)
    x = np.linspace(-0.95, 0.95, 50)
    # 156 voxels a bin: the median's standard error is 1.25 · 20/√156 = 2 HU; five of them.
    assert np.abs(table.apply(x) - 500 * x**2).max() < 10


@given(
    arrays(np.float32, st.integers(1, 60), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_any_voxels_give_a_table_with_increasing_intensities(mr, bins):
    hu = 100 * mr - 50
    table = fit_lookup(mr, hu, bins)
    assert (np.diff(table.mr) > 0).all()
    assert np.allclose(np.interp(table.mr, table.mr, table.hu), 100 * table.mr - 50, atol=1e-4)


@pytest.mark.parametrize(
    ("mr", "hu", "words"),
    [([], [], "there are none"), ([np.nan], [1.0], "NaN or infinite")],
)
def test_refusals(mr, hu, words):
    with pytest.raises(InputError, match=words):
        fit_lookup(np.array(mr), np.array(hu))
