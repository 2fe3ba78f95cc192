"""Images by spatial frequency."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.frequencies import FREQUENCIES, nearest, shares
from sde_ct.sampling.cosine import filtered, restored, transformed

IMAGES = jax.random.normal(jax.random.key(0), (2, 3, 24, 32, 1))
ROUNDING = 1e-5  # of float32 transforms


@pytest.mark.parametrize("size", [(24, 32), (7, 5), (1, 1), (512, 512)])
def test_shares_add_up_to_one(size):
    found = shares(*size)
    assert found.shape == (len(FREQUENCIES), *size) and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=0), 1.0, rtol=1e-6)


def test_a_cosine_has_the_share_of_its_frequency():
    """cos(2πf(i + ½)) of 64 pixels is one coefficient, and f = 1/8 is the third frequency."""
    wave = jnp.cos(2 * np.pi / 8 * (jnp.arange(64) + 0.5))
    image = jnp.broadcast_to(wave, (64, 64))[None, ..., None]
    power = transformed(image) ** 2
    parts = (shares(64, 64)[:, None, ..., None] * power).sum(axis=(1, 2, 3, 4)) / (image**2).sum()
    np.testing.assert_allclose(parts, [0, 0, 1, 0, 0], atol=ROUNDING)
    doubled = filtered(image, jnp.array([1.0, 1.0, 4.0, 1.0, 1.0]))
    np.testing.assert_allclose(doubled, 2 * image, atol=ROUNDING)


def test_coefficients_belong_to_the_nearest_frequency():
    """Those of 64 pixels have the frequencies n/128; 1/16 and 1/8 meet at 0.088, or n = 11.3."""
    assert nearest(64, 64)[0, [0, 8, 11, 12, 16, 63]].tolist() == [0, 1, 1, 2, 2, 4]


def test_images_are_restored():
    np.testing.assert_allclose(restored(transformed(IMAGES)), IMAGES, atol=ROUNDING)


def test_equal_gains_scale_images():
    np.testing.assert_allclose(filtered(IMAGES, jnp.ones(5)), IMAGES, atol=ROUNDING)
    np.testing.assert_allclose(filtered(IMAGES, 4 * jnp.ones(5)), 2 * IMAGES, atol=ROUNDING)


def test_filtering_commutes_with_mirroring():
    """The draws of mirrored MR are mirrored back before they are filtered."""
    gains = jnp.array([9.0, 9.0, 4.0, 1.0, 0.5])
    turned = filtered(IMAGES[..., ::-1, :], gains)[..., ::-1, :]
    np.testing.assert_allclose(turned, filtered(IMAGES, gains), atol=ROUNDING)
