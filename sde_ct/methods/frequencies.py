"""The parts of images by spatial frequency, in coefficients of the cosine transform (DCT-II).

The cosine transform continues an image by its mirror image at every edge, so that opposite edges do
not meet, as they would in a Fourier transform.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Float

FREQUENCIES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles per pixel
IN_PLANE = (-3, -2)

Images = Float[Array, "*n h w 1"] | Float[np.ndarray, "*n h w 1"]


def transformed(images: Images) -> Float[Array, "*n h w 1"]:
    """The orthonormal cosine transform of each image."""
    return dctn(jnp.asarray(images), axes=IN_PLANE, norm="ortho")


def shares(height: int, width: int) -> Float[np.ndarray, "frequencies h w 1"]:
    """How much each coefficient belongs to each of `FREQUENCIES`; the sum over these is 1.

    The share of a frequency falls linearly in log f to 0 at its neighbours. Coefficients below the
    lowest frequency belong to that one, and those above the highest to the highest.
    """
    down, across = np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width)
    radial = np.maximum(np.hypot(down, across), FREQUENCIES[0])
    each = np.eye(len(FREQUENCIES))
    found = [np.interp(np.log(radial), np.log(FREQUENCIES), one) for one in each]
    return np.stack(found)[..., None].astype(np.float32)


def filtered(images: Images, gains: Float[Array, " frequencies"]) -> Float[Array, "*n h w 1"]:
    """Images whose power at each of `FREQUENCIES` is multiplied by a gain.

    Between two frequencies the gain is linear in log f.
    """
    power = jnp.tensordot(gains, shares(*images.shape[-3:-1]), 1)
    return idctn(jnp.sqrt(power) * transformed(images), axes=IN_PLANE, norm="ortho")
