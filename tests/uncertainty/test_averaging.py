"""The error of the mean of draws, known in closed form."""

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty import averaging


def test_error_by_draws_and_its_limit():
    """Truth N(0, 20²) unknown to draws N(0, 30²): the mean of m has the error √(400 + 900 / m)."""
    rng = np.random.default_rng(5)
    draws, truth = rng.normal(0, 30, (8, 32_000)), rng.normal(0, 20, 32_000)
    got = averaging.error_by_draws(draws, truth)
    # 32000 voxels: a root mean square is known to 1 / √64000 = 0.4 %.
    assert got.rmse == pytest.approx(np.sqrt(400 + 900 / np.arange(1, 9)), rel=0.015)
    assert got.limit == pytest.approx(20, rel=0.02)
    assert got.variance == pytest.approx(900, rel=0.01)
    assert got.draws.tolist() == list(range(1, 9))
    # 900 / m <= (1.01² - 1) 400 from m = 112 on; 2 % of the limit is 4 % of its square.
    assert got.enough == pytest.approx(112, rel=0.06)
    exact = averaging.error_by_draws(np.full((3, 32_000), 7.0), truth)
    assert exact.enough == 1 and exact.limit == pytest.approx(exact.rmse[0])


def test_sums_lose_no_digits_far_from_zero():
    """Air: the draws differ by 1 HU about -1000, so sums of squares cancel in six of 16 digits."""
    rng = np.random.default_rng(6)
    draws, truth = rng.normal(-1000, 1, (10, 2000)), np.full(2000, -1000.0)
    got = averaging.error_by_draws(draws, truth)
    assert got.variance == pytest.approx(draws.var(axis=0, ddof=1).mean(), rel=1e-9)
    assert got.rmse[-1] == pytest.approx(np.sqrt(np.mean((draws.mean(axis=0) + 1000) ** 2)))


def test_patients_weigh_alike_and_the_fewest_draws_count():
    """Errors 6 and 8 of one draw, 4 and 2 of infinitely many, one patient drawn twice as often."""
    cases = [
        averaging.ErrorByDraws(np.arange(1, m + 1), np.sqrt(e + v / np.arange(1, m + 1)), v, 0, 0)
        for m, e, v in ((4, 16.0, 20.0), (8, 4.0, 60.0))
    ]
    got = averaging.over_patients(cases)
    assert got.rmse == pytest.approx(np.sqrt(10 + 40 / np.arange(1, 5)))
    assert got.limit == pytest.approx(np.sqrt(10)) and got.variance == 40
    assert got.enough == np.ceil(40 / (10 * (1.01**2 - 1)))


def test_one_draw_has_no_limit():
    with pytest.raises(InputError, match="at least 2 draws"):
        averaging.error_by_draws(np.zeros((1, 8)), np.zeros(8))
