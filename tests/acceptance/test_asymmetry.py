"""Mirrored bodies are told from others where left and right differ."""

import numpy as np
import pytest

from sde_ct.acceptance.asymmetry import (
    FARTHEST,
    GRID,
    PARTS,
    RIDGE,
    asymmetry,
    mirrored_odds,
)


def body(number, *, bump=0.3, slices=8):
    """An ellipse of noise, turned a little and unevenly bright, with a bump on one side."""
    rng = np.random.default_rng(number)
    x, y = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 36), indexing="ij")
    inside = (x / 0.9) ** 2 + (y / 0.8) ** 2 < 1
    organ = np.exp(-(((x - 0.4) ** 2 + (y - 0.2) ** 2) / 0.02))
    plane = 0.5 + bump * organ + 0.2 * rng.normal() * x
    image = plane[..., None] + 0.05 * rng.normal(size=(*x.shape, slices))
    return image * inside[..., None], np.repeat(inside[..., None], slices, axis=2)


def along(patient, training) -> float:
    """The patient's asymmetry along the discriminant, -1 for the mean of the training."""
    return np.log(mirrored_odds(patient, training)) / 2


@pytest.fixture(scope="module")
def training():
    return np.array([asymmetry(*body(n)) for n in range(20)])


def test_a_mirrored_body_is_told_from_new_ones(training):
    usual = [along(asymmetry(*body(n)), training) for n in range(100, 120)]
    turned = [along(asymmetry(*(a[::-1] for a in body(n))), training) for n in range(100, 120)]
    # By construction they are the negatives of each other, so that one side of 0 tells.
    np.testing.assert_allclose(turned, np.negative(usual), atol=1e-9)
    assert max(usual) < -0.5
    assert np.mean(usual) == pytest.approx(-1, abs=0.2)  # 20 patients; shrunk by the fit's noise


def test_without_a_side_it_tells_nothing():
    alike = np.array([asymmetry(*body(n, bump=0)) for n in range(20)])
    new = [along(asymmetry(*body(n, bump=0)), alike) for n in range(100, 140)]
    assert 0.2 < np.mean(np.array(new) < 0) < 0.8  # half and half, within 4 standard errors
    assert np.max(np.abs(new)) <= FARTHEST + 1e-9  # so that chance stays within bounds


def test_the_weights_are_those_of_the_full_covariance(training):
    """The Woodbury form equals the inverse of the covariance with its ridge."""
    usual, own = training.mean(axis=0), training[0] + 0.1
    apart = training - usual
    covariance = apart.T @ apart
    ridge = RIDGE * np.trace(covariance) / len(usual)
    weights = np.linalg.solve(covariance + ridge * np.eye(len(usual)), usual)
    assert along(own, training) == pytest.approx(-(own @ weights) / (usual @ weights), rel=1e-9)


@pytest.mark.parametrize("slices", [1, 3, 20])
def test_any_number_of_slices_gives_one_length(slices):
    assert asymmetry(*body(0, slices=slices)).shape == (GRID[0] // 2 * GRID[1] * PARTS,)


def test_no_body_has_no_asymmetry():
    image, inside = body(0)
    assert not asymmetry(image, np.zeros_like(inside)).any()
