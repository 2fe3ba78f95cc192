"""Spread over error of figures of patients, against closed forms."""

import numpy as np
import pytest

from sde_ct.uncertainty.patient_bounds import Patient
from sde_ct.uncertainty.structures import StructureMean
from sde_ct.uncertainty.summed import medians, of_structures, spread_error
from sde_ct.uncertainty.sums import Sums


def test_patients_have_equal_weight_whatever_their_number_of_rays():
    one = Patient(np.array([10.0]), np.array([13.0]), np.array([2.0]))
    many = Patient(np.zeros(100), np.full(100, -1.0), np.full(100, 4.0))
    got = spread_error([one, many], [2, 4])
    assert got.patients == 2 and got.error == pytest.approx((3 - 1) / 2)
    assert got.rms_error == pytest.approx(np.sqrt((9 + 1) / 2))
    assert got.spread == pytest.approx(np.sqrt((4 + 16) / 2))
    right = np.sqrt((4 * 3 / 2 + 16 * 5 / 4) / (9 + 1))
    assert got.spread_over_error == pytest.approx(right)


def test_draws_from_the_law_of_the_truth_have_a_ratio_of_one():
    rng = np.random.default_rng(0)
    patients = []
    for _ in range(400):
        truth, *draws = rng.normal(0, 3, (6, 5))
        patients.append(Patient(truth, np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1)))
    got = spread_error(patients, [5] * 400)
    # 2000 values: the root of a mean square is known to 1/sqrt(2 * 2000), 1.6 %; three times that.
    assert got.spread_over_error == pytest.approx(1, abs=0.05)


def test_no_error_gives_no_ratio():
    got = spread_error([Patient(1.0, 1.0, 2.0)], [3])
    assert np.isnan(got.spread_over_error) and got.spread == 2


def test_structures_count_where_a_patient_has_them():
    bladder = StructureMean(np.array([8.0, 12.0]), 7.0, 5.0)
    sacrum = StructureMean(np.array([200.0, 300.0]), 240.0, 5.0)
    got = of_structures([{"bladder": bladder}, {"bladder": bladder, "sacrum": sacrum}])
    assert got["bladder"].patients == 2 and got["bladder"].error == pytest.approx(3)
    assert got["sacrum"].patients == 1 and got["sacrum"].spread == pytest.approx(np.sqrt(5000))


def test_medians_leave_out_what_is_not_finite():
    sums = [Sums(1, 2, np.nan, np.nan, 5, 6), Sums(3, 2, 1, np.nan, 5, 6)]
    got = medians(sums)
    assert got["along_x"] == 2 and got["along_z"] == 1 and "slice_change" not in got
