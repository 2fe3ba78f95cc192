"""A proper score of draws: its expectation is smallest for draws from the distribution of the data.

For an image y and draws x and x', the energy score with a distance d is

    ½ (d(x, y) + d(x', y)) - ½ d(x, x')

(Gneiting and Raftery, JASA 102:359, 2007, eq. 22, with two draws). It is proper where d is a sum of
Euclidean norms of linear maps of the difference. Norms of whole images would say little about
detail, so they are taken of pixels, of small patches and of the fine detail in patches.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PATCHES = (3, 9)  # sides in pixels; a patch begins every side // 2 pixels
DETAIL_PATCH, DETAIL_WEIGHT = 5, 2.0
SMALL = 1e-6  # keeps the gradient of a root finite at 0

Images = Float[Array, "b h w 1"]


def energy_score(draws: Float[Array, "2 b h w 1"], images: Images, valid: Images) -> Array:
    """The energy score of two draws of each image, averaged over the batch."""
    first, second = draws

    def between(a: Images, b: Images) -> Array:
        return distance(valid * (a - b))

    return (between(first, images) + between(second, images) - between(first, second)) / 2


def distance(difference: Images) -> Array:
    """The weighted sum of the mean norms of pixels, patches, and the fine detail in patches."""
    norms = [jnp.abs(difference).mean()]
    norms += [_norm(difference, side) for side in PATCHES]
    if min(difference.shape[1:3]) > 2:  # smaller images have no inner pixels
        norms.append(DETAIL_WEIGHT * _norm(_detail(difference), DETAIL_PATCH))
    return sum(norms[1:], norms[0])


def _norm(x: Images, side: int) -> Array:
    """The root mean square in a patch, averaged over patches."""
    side = min(side, *x.shape[1:3])
    window, step = (1, side, side, 1), (1, max(side // 2, 1), max(side // 2, 1), 1)
    total = jax.lax.reduce_window(x**2, 0.0, jax.lax.add, window, step, "VALID")
    return jnp.sqrt(total / side**2 + SMALL).mean()


def _detail(x: Images) -> Float[Array, "b i j 1"]:
    """Each inner pixel minus the mean of its four neighbours."""
    across = x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return x[:, 1:-1, 1:-1] - (x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + across) / 4
