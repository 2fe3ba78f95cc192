"""The correlation of CT detail along z, on volumes whose correlation is known."""

import numpy as np
import pytest

from sde_ct.data import through_plane
from sde_ct.data.through_plane import LENGTHS, OWN, correlation, factor


class Case:
    """What `correlation` uses of a prepared case: bone-like noise, autoregressive along z."""

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


def by_distance(weights: dict[str, float], mm: np.ndarray) -> np.ndarray:
    return sum(w * np.exp(-mm / float(length)) for length, w in weights.items())


@pytest.mark.parametrize("alike", [0.5, 0.8])
def test_the_correlation_of_an_autoregression_is_measured(alike):
    weights = correlation([Case(alike, seed) for seed in range(3)])
    assert sum(weights.values()) == pytest.approx(1.0) and min(weights.values()) >= 0
    lags = np.arange(1, 9)
    # White detail loses little by the high-pass filter. 3 x 24 x 4096 voxels leave an error of
    # 0.002, and the few lengths on offer fit an exponential of any length within 0.03.
    np.testing.assert_allclose(by_distance(weights, 4.0 * lags), alike**lags, atol=0.03)


def test_patients_are_chosen_evenly_and_single_slices_say_nothing(monkeypatch):
    monkeypatch.setattr(through_plane, "PATIENTS", 2)
    first, second, third = (Case(alike, 1) for alike in (0.5, 0.9, 0.5))
    assert correlation([first, second, third]) == correlation([first, third])
    assert correlation([Case(0.5, 0, depth=1)]) is None
    air = Case(0.5, 0)
    air.load("ct")[:] = -1000
    assert correlation([air]) is None


def test_the_factor_has_rows_of_unit_length_and_the_measured_covariance():
    weights = dict.fromkeys(map(str, LENGTHS), 0.0) | {"10.0": 0.7, "10000.0": 0.3}
    found = factor(weights, 4.0, 16).astype(np.float64)
    assert np.array_equal(found, np.tril(found))
    mm = 4.0 * np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    joint = 0.7 * np.exp(-mm / 10) + 0.3 * np.exp(-mm / 1e4)
    np.testing.assert_allclose(found @ found.T, (1 - OWN) * joint + OWN * np.eye(16), atol=1e-6)
    # Slices that are added above change nothing below, which lets volumes be padded.
    np.testing.assert_allclose(factor(weights, 4.0, 24)[:16, :16], found, atol=1e-6)
