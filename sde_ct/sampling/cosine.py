"""The cosine transform of images (DCT-II), and images whose frequencies are changed.

The cosine transform continues an image by its mirror image at every edge, so that opposite edges do
not meet, as they would in a Fourier transform. It is orthonormal: white noise stays white.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.fft import dctn, idctn
from jaxtyping import Array, Float

from sde_ct.frequencies import shares

IN_PLANE = (-3, -2)

Images = Float[Array, "*n h w 1"] | Float[np.ndarray, "*n h w 1"]


def transformed(images: Images) -> Float[Array, "*n h w 1"]:
    """The orthonormal cosine transform of each image."""
    return dctn(jnp.asarray(images), axes=IN_PLANE, norm="ortho")


def restored(coefficients: Images) -> Float[Array, "*n h w 1"]:
    """The images with these cosine transforms."""
    return idctn(jnp.asarray(coefficients), axes=IN_PLANE, norm="ortho")


def filtered(images: Images, gains: Float[Array, " frequencies"]) -> Float[Array, "*n h w 1"]:
    """Images whose power at each of `FREQUENCIES` is multiplied by a gain.

    Between two frequencies the gain is linear in log f.
    """
    power = jnp.tensordot(gains, shares(*images.shape[-3:-1])[..., None], 1)
    return restored(jnp.sqrt(power) * transformed(images))
