"""The measurements of one patient, before they are compared with those of other patients."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.acceptance.anatomy import Slices
from sde_ct.acceptance.asymmetry import Asymmetry
from sde_ct.acceptance.features import TISSUES
from sde_ct.volumes.masks import tissues


class Measured(NamedTuple):
    """The measurements of one patient."""

    name: str
    values: Mapping[str, float]  # of `mr_features` and `ct_features`
    grey_values: Float[np.ndarray, " n"]  # of `mr_features.MRFigures`, as is the asymmetry
    asymmetry: Asymmetry
    flips: Sequence[Slices]  # the slices of the MR in each of `anatomy.FLIPS`
    errors: Mapping[str, float] = {}  # MAE in HU by tissue, where there is a real CT


def errors(
    mean: Float[np.ndarray, "x y z"],
    ct: Float[np.ndarray, "x y z"],
    measured: Float[np.ndarray, "x y z"],
) -> dict[str, float]:
    """The MAE (HU) over the body and over the real CT's bone and soft tissue.

    `measured` is above 0 where the real CT counts.
    """
    inside = np.asarray(measured) > 0
    kinds = tissues(ct)
    parts = dict(
        zip(TISSUES, (inside, inside & kinds["bone"], inside & kinds["soft"]), strict=True)
    )
    apart = np.abs(mean.astype(np.float64) - ct)
    return {name: float(apart[part].mean()) for name, part in parts.items() if part.any()}
