"""Intervals and tests against hand computation, enumeration and simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde_ct.errors import InputError
from sde_ct.evaluation.statistics import compare, holm
from sde_ct.uncertainty.intervals import bootstrap_interval, caveat


def test_an_interval_is_reproducible_and_brackets_the_mean():
    values = np.random.default_rng(0).normal(50, 8, 12)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert bootstrap_interval(values) == (low, high)
    # The normal interval, ± 1.96 s/√n, is what it approaches: within a fifth for 12 patients.
    half = 1.96 * values.std(ddof=1) / np.sqrt(12)
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(0, 1, 30))
        hits += low <= 0 <= high
    # 30 patients: the bootstrap falls a few points short of 95 %; 3 standard errors are 7 points.
    assert 86 <= hits <= 100


def test_intervals_of_one_patient_and_of_equal_patients():
    assert np.isnan(bootstrap_interval([3.0])).all()
    assert bootstrap_interval([3.0, 3.0, 3.0]) == (3, 3)
    low, high = bootstrap_interval([1.0, 2.0])
    assert (low, high) == (1, 2)  # a quarter of the resamples each: beyond 2.5 %
    for bad in ([], [1.0, float("nan")], [[1.0]]):
        with pytest.raises(InputError, match="one finite value"):
            bootstrap_interval(bad)


def test_wilcoxon_by_enumeration():
    a = [50.0, 61.0, 47.0, 58.0, 70.0, 44.0, 52.0]
    b = [48.0, 62.0, 43.0, 50.0, 64.0, 41.0, 47.0]
    d = np.subtract(a, b)  # 2 -1 4 8 6 3 5: no ties
    ranks = np.argsort(np.argsort(np.abs(d))) + 1
    seen = ranks[d > 0].sum()
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s)
        for signs in itertools.product((0, 1), repeat=7)
    ]
    p = 2 * np.mean([total >= seen for total in sums])
    (got,) = compare({"CNN": a, "EM": b})
    assert got[:2] == ("CNN", "EM") and got.n == 7
    assert got.p == pytest.approx(p) == got.p_holm
    assert got.median_difference == 4


def test_patients_without_both_figures_are_left_out():
    a = [1.0, 2.0, 3.0, float("inf"), None, 6.0]
    b = [2.0, 4.0, 6.0, 1.0, 1.0, 10.0]
    (got,) = compare({"a": a, "b": b})
    assert got.n == 4 and got.p == pytest.approx(2 / 2**4)  # all four below
    (same,) = compare({"a": b, "b": b})
    assert (same.p, same.p_holm, same.median_difference) == (1, 1, 0)
    (none,) = compare({"a": [None], "b": [1.0]})
    assert none.n == 0 and none.p == 1 and np.isnan(none.median_difference)
    assert compare({"alone": a}) == []
    with pytest.raises(InputError, match=r"a 6, b 1"):
        compare({"a": a, "b": [1.0]})


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1, each at least the one before.
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.4, 0.5]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_holm_lies_between_none_and_bonferroni(p):
    corrected = np.array(holm(p))
    assert (corrected >= p).all() and (corrected <= np.minimum(1, np.multiply(p, len(p)))).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_holm_keeps_the_family_wise_error():
    """Four equal methods: at most 5 % of families may hold a significant pair."""
    rng = np.random.default_rng(2)
    families = [compare({str(m): rng.normal(0, 1, 9) for m in range(4)}) for _ in range(100)]
    wrong = sum(min(c.p_holm for c in family) < 0.05 for family in families)
    assert wrong <= 5 + 3 * np.sqrt(100 * 0.05 * 0.95)  # three standard errors


def test_the_caveat_of_few_patients():
    assert caveat(6) is None
    assert caveat(5).startswith("5 patients:") and caveat(1).startswith("1 patient:")
    assert "no paired comparison" in caveat(5) and "paired" not in caveat(5, paired=False)
    assert "there are no intervals" in caveat(1, paired=False)
    # Why 6: the strongest result of 5 patients, all better, is not significant, of 6 it is.
    for n, significant in ((5, False), (6, True)):
        (best,) = compare({"a": np.arange(n) + 10.0, "b": np.arange(n) * 0.5})
        assert (best.p < 0.05) is significant
