"""The cosine transform of images (DCT-II), and filters for their spatial frequencies.

The cosine transform continues an image by its mirror image at every edge, so that opposite edges do
not meet, as they would in a Fourier transform. It is orthonormal: white noise stays white.
"""

import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float
from scipy.fft import dct

from sde_ct.frequencies import shares

IN_PLANE = (-3, -2)

Images = Float[Array, "*n h w 1"] | Float[np.ndarray, "*n h w 1"]


def transformed(images: Images) -> Float[Array, "*n h w 1"]:
    """The orthonormal cosine transform of each image."""
    down, across = (_cosines(n) for n in images.shape[-3:-1])
    return jnp.einsum("ih,...hwc,jw->...ijc", down, images, across, precision=Precision.HIGHEST)


def restored(coefficients: Images) -> Float[Array, "*n h w 1"]:
    """The images with these cosine transforms."""
    down, across = (_cosines(n).T for n in coefficients.shape[-3:-1])
    return jnp.einsum(
        "hi,...ijc,wj->...hwc", down, coefficients, across, precision=Precision.HIGHEST
    )


def filtered(images: Images, gains: Float[Array, " frequencies"]) -> Float[Array, "*n h w 1"]:
    """Images whose power at each of `FREQUENCIES` is multiplied by a gain.

    Between two frequencies the gain is linear in log f.
    """
    power = jnp.tensordot(gains, shares(*images.shape[-3:-1])[..., None], 1)
    return restored(jnp.sqrt(power) * transformed(images))


def _cosines(size: int) -> Float[np.ndarray, "n n"]:
    """The orthonormal transform of `size` values as a matrix.

    A product with this matrix takes half as long as JAX's `dctn` and needs no complex numbers.
    """
    return dct(np.eye(size), axis=0, norm="ortho").astype(np.float32)
