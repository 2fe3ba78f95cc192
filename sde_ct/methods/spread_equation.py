"""The equation whose root is the scale at which draws differ as much as their mean errs.

Two independent draws miss the CT by u₁ and u₂, where u = s r - e and e = CT - m. The mean of
infinitely many draws has the squared error E[u₁u₂], and draws have the variance E[(u₁ - u₂)²]/2.
The two are equal where E[2u₁u₂ - (u₁² + u₂²)/2] = 0, which is c + 2ls + qs² = 0.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

Two = Float[np.ndarray, "2 *d"]


def coefficients(
    error: Two, rest: Two, weights: Iterable[Float[np.ndarray, "*d"]]
) -> Float[np.ndarray, "weights 3"]:
    """c, l and q of one equation for each of `weights`, which weights its means over pixels."""

    def paired(a: Two, b: Two) -> Float[np.ndarray, "*d"]:
        return a[0] * b[1] + a[1] * b[0] - (a[0] * b[0] + a[1] * b[1]) / 2

    terms = paired(error, error), -paired(rest, error), paired(rest, rest)
    return np.array(
        [[np.mean(weight * term, dtype=np.float64) for term in terms] for weight in weights]
    )


def roots(equations: Float[np.ndarray, "n 3"], shared: float = 0.0) -> Float[np.ndarray, " n"]:
    """The positive root of each equation plus `shared` times the sum of all equations.

    If it has no positive root, the root of the sum is returned, or NaN if the sum has none either.
    """
    everywhere = equations.sum(axis=0)
    root = _root(*(equations + shared * everywhere).T)
    return np.where(np.isnan(root), _root(*everywhere), root)


def _root(constant: np.ndarray, linear: np.ndarray, quadratic: np.ndarray) -> np.ndarray:
    """The positive s of c + 2ls + qs² = 0; NaN if there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        root = constant / (np.sqrt(linear**2 - constant * quadratic) - linear)
    return np.where(root > 0, root, np.nan)
