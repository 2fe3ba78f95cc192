"""Cosine transforms of images, and images whose frequencies are changed."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.fft import dctn

from sde_ct.frequencies import shares
from sde_ct.sampling.cosine import filtered, restored, transformed

IMAGES = jax.random.normal(jax.random.key(0), (2, 3, 24, 32, 1))
ROUNDING = 1e-5  # of float32 transforms


def test_a_cosine_has_the_share_of_its_frequency():
    """cos(2πf(i + ½)) of 64 pixels is one coefficient, and f = 1/8 is the third frequency."""
    wave = jnp.cos(2 * np.pi / 8 * (jnp.arange(64) + 0.5))
    image = jnp.broadcast_to(wave, (64, 64))[None, ..., None]
    power = transformed(image) ** 2
    parts = (shares(64, 64)[:, None, ..., None] * power).sum(axis=(1, 2, 3, 4)) / (image**2).sum()
    np.testing.assert_allclose(parts, [0, 0, 1, 0, 0], atol=ROUNDING)
    doubled = filtered(image, jnp.array([1.0, 1.0, 4.0, 1.0, 1.0]))
    np.testing.assert_allclose(doubled, 2 * image, atol=ROUNDING)


def test_the_transform_is_scipys():
    expected = dctn(np.asarray(IMAGES), axes=(-3, -2), norm="ortho")
    np.testing.assert_allclose(transformed(IMAGES), expected, atol=ROUNDING)


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
