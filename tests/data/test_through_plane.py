"""The correlation of CT detail along z, on volumes whose correlation is known."""

import numpy as np
import pytest

from sde_ct.data import through_plane
from sde_ct.data.through_plane import OWN, correlation_length, factor


class Case:
    """The parts of a prepared case that matter here: autoregressive noise along z as its CT."""

    class grid:
        pixel_mm = (1.0, 1.0)
        slice_mm = 4.0

    def __init__(self, alike: float, seed: int, depth: int = 24):
        rng = np.random.default_rng(seed)
        ct = [rng.normal(size=(64, 64))]
        for _ in range(depth - 1):
            new = rng.normal(size=(64, 64))
            ct.append(alike * ct[-1] + np.sqrt(1 - alike**2) * new)
        self._arrays = {"ct": np.round(20 * np.array(ct)).astype(np.int16)}
        self._arrays["valid"] = np.ones_like(self._arrays["ct"], np.uint8)

    def load(self, name: str) -> np.ndarray:
        return self._arrays[name]


@pytest.mark.parametrize("alike", [0.5, 0.8])
def test_the_length_of_an_autoregression_is_measured(alike):
    length = correlation_length([Case(alike, seed) for seed in range(3)])
    # A fraction alike^n is left after n slices of 4 mm. White detail loses little by the high-pass
    # filter, and 3 x 24 x 4096 voxels leave an error of 0.002 in the correlations, 1 % of a length.
    assert length == pytest.approx(-4.0 / np.log(alike), rel=0.04)


def test_patients_are_chosen_evenly_and_single_slices_say_nothing(monkeypatch):
    monkeypatch.setattr(through_plane, "PATIENTS", 2)
    first, second, third = (Case(alike, 1) for alike in (0.5, 0.9, 0.5))
    assert correlation_length([first, second, third]) == correlation_length([first, third])
    assert correlation_length([Case(0.5, 0, depth=1)]) is None
    air = Case(0.5, 0)
    air.load("ct")[:] = -1000
    assert correlation_length([air]) is None


def test_slices_too_thick_to_compare_are_compared_with_their_neighbours():
    thick = Case(0.5, 0)
    thick.grid = type("grid", (), {"pixel_mm": (1.0, 1.0), "slice_mm": 20.0})
    assert correlation_length([thick]) == pytest.approx(-20.0 / np.log(0.5), rel=0.04)


def test_the_factor_has_rows_of_unit_length_and_the_covariance():
    found = factor(10.0, 4.0, 16).astype(np.float64)
    assert np.array_equal(found, np.tril(found))
    joint = np.exp(-4.0 * np.abs(np.subtract.outer(np.arange(16), np.arange(16))) / 10)
    np.testing.assert_allclose(found @ found.T, (1 - OWN) * joint + OWN * np.eye(16), atol=1e-6)
    # Slices that are added above change nothing below, which lets volumes be padded.
    np.testing.assert_allclose(factor(10.0, 4.0, 24)[:16, :16], found, atol=1e-6)
