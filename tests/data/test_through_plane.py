"""The correlation of CTs along z by frequency, on volumes whose correlation is known."""

import numpy as np
import pytest
from scipy.fft import idctn

from sde_ct.data import through_plane
from sde_ct.data.through_plane import OWN, SHORTEST_MM, correlation_lengths, factor
from sde_ct.frequencies import FREQUENCIES, nearest

# The fraction that is left after a slice, at each of `FREQUENCIES`.
ALIKE = (0.95, 0.9, 0.8, 0.6, 0.3)


class Case:
    """The parts of a prepared case that matter here: autoregressive noise along z as its CT."""

    class grid:
        slice_mm = 4.0

    def __init__(self, alike, seed: int, depth: int = 32):
        rng = np.random.default_rng(seed)
        kept = np.asarray(alike)[nearest(64, 64)] if np.ndim(alike) else alike
        ct = [rng.normal(size=(64, 64))]
        for _ in range(depth - 1):
            ct.append(kept * ct[-1] + np.sqrt(1 - kept**2) * rng.normal(size=(64, 64)))
        images = idctn(np.array(ct), axes=(1, 2), norm="ortho")
        self._arrays = {"ct": np.round(20 * images).astype(np.int16)}
        self._arrays["valid"] = np.ones_like(self._arrays["ct"], np.uint8)

    def load(self, name: str) -> np.ndarray:
        return self._arrays[name]


def test_the_lengths_of_an_autoregression_are_measured():
    found = correlation_lengths([Case(ALIKE, seed) for seed in range(12)])
    # A coefficient between two frequencies counts for both, but is as alike as the nearer one, so
    # only the finest, which has few neighbours below it, is close. The lowest has 25 coefficients.
    expected = -4.0 / np.log(ALIKE)
    assert len(found) == len(FREQUENCIES) and (np.diff(found) < 0).all()
    assert found == pytest.approx(expected, rel=0.35)
    assert found[-1] == pytest.approx(expected[-1], rel=0.15)


@pytest.mark.parametrize("alike", [0.5, 0.8])
def test_noise_that_is_equally_alike_at_all_frequencies_has_one_length(alike):
    found = correlation_lengths([Case(alike, seed) for seed in range(12)])
    # A fraction alike^n is left after n slices of 4 mm. 12 x 32 slices of 25 coefficients leave
    # an error of 0.01 in the correlations at the lowest frequency, less at the others.
    assert found == pytest.approx([-4.0 / np.log(alike)] * 5, rel=0.12)
    assert found[2:] == pytest.approx([-4.0 / np.log(alike)] * 3, rel=0.03)


def test_slices_that_are_unlike_have_the_shortest_length():
    case = Case(0.5, 0, depth=2)
    case.load("ct")[1] = -case.load("ct")[0]
    assert correlation_lengths([case]) == pytest.approx([SHORTEST_MM] * 5)


def test_patients_are_chosen_evenly_and_single_slices_say_nothing(monkeypatch):
    monkeypatch.setattr(through_plane, "PATIENTS", 2)
    first, second, third = (Case(alike, 1) for alike in (0.5, 0.9, 0.5))
    assert correlation_lengths([first, second, third]) == correlation_lengths([first, third])
    assert correlation_lengths([Case(0.5, 0, depth=1)]) is None
    air = Case(0.5, 0)
    air.load("ct")[:] = -1000
    assert correlation_lengths([air]) is None


def test_slices_too_thick_to_compare_are_compared_with_their_neighbours():
    thick = Case(0.5, 0)
    thick.grid = type("grid", (), {"slice_mm": 20.0})
    assert correlation_lengths([thick])[-1] == pytest.approx(-20.0 / np.log(0.5), rel=0.04)


def test_the_factor_has_rows_of_unit_length_and_the_covariance():
    found = factor(10.0, 4.0, 16).astype(np.float64)
    assert np.array_equal(found, np.tril(found))
    joint = np.exp(-4.0 * np.abs(np.subtract.outer(np.arange(16), np.arange(16))) / 10)
    np.testing.assert_allclose(found @ found.T, (1 - OWN) * joint + OWN * np.eye(16), atol=1e-6)
    # Slices that are added above change nothing below, which lets volumes be padded.
    np.testing.assert_allclose(factor(10.0, 4.0, 24)[:16, :16], found, atol=1e-6)
    both = factor([10.0, 1e4], 4.0, 16)
    np.testing.assert_array_equal(both, [factor(10.0, 4.0, 16), factor(1e4, 4.0, 16)])
