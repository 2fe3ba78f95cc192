"""Thresholds keep their rate, and say what few patients cannot promise."""

import numpy as np
import pytest

from sde_ct.acceptance.conformal import threshold, tolerance


@pytest.mark.parametrize("patients", [19, 40])
def test_the_rate_of_false_alarms_is_kept_on_average(patients):
    """3000 fits: the standard error of the mean rate is below 0.1 %."""
    rng = np.random.default_rng(0)
    limits = [threshold(rng.exponential(size=patients), 0.05).value for _ in range(3000)]
    rate = np.mean(np.exp(-np.array(limits)))  # of an exponential score above the limit
    assert 0.02 < rate <= 0.052


def test_few_patients_promise_less_and_say_so():
    few = threshold([1.0, 2.0], 0.05, others=[0.5] * 40)
    assert few.value == 2.0  # never below the largest of the fitted patients
    assert few.promised == pytest.approx(1 / 3)
    assert "2 validation patients cannot promise a rate of 5%" in few.sentence
    assert "At least 19 validation patients are needed" in few.sentence


def test_a_bound_holds_for_its_share_with_its_confidence():
    """In 90 % or more of 500 fits, 90 % of new normal values lie below the bound."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    shares = [norm.cdf(tolerance(rng.normal(size=40), 0.9)[0]) for _ in range(500)]
    assert 0.88 < np.mean(np.array(shares) >= 0.9) < 0.96
    assert tolerance([1.0, 3.0], 0.9) == (3.0, pytest.approx(0.1**0.5))
