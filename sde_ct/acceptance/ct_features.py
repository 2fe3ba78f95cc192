"""Figures of a synthetic CT and of its draws."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.acceptance.eroded import eroded
from sde_ct.acceptance.features import TISSUES
from sde_ct.data.regions.body import body_mask
from sde_ct.volumes.masks import tissues
from sde_ct.volumes.volume import Volume, canonical

FAR_MM = 20.0  # distance from the body beyond which the CT must show air


def ct_features(
    mr: Volume,
    mean: Volume,
    spread: Volume | None,
    draws: Sequence[Volume] = (),
) -> dict[str, float]:
    """The figures of a synthetic CT that `Reference.features` and `verdict.judge` use.

    `bone_volume` is in cm³ here. `Reference.features` divides it by the bone volume that is usual
    for `body_volume` (cm³).

    Args:
      mr: a.u.; it shows where the body is.
      mean, spread: of the draws, HU, on the grid of the MR; the spread is None for a single draw.
      draws: the single draws, HU, if there are any.
    """
    body = canonical(body_mask(mr)).array > 0
    upright = canonical(mean)
    hu = np.asarray(upright.array, np.float64)
    cubic_cm = float(np.prod(upright.spacing)) / 1000
    kinds = tissues(hu)
    bone, soft = kinds["bone"] & body, kinds["soft"] & body
    air = eroded(~body, np.asarray(upright.spacing), FAR_MM)
    values = {
        "not_finite": float(np.mean(~np.isfinite(hu))),
        "bone_volume": float(bone.sum()) * cubic_cm,
        "body_volume": float(body.sum()) * cubic_cm,
        "bone_hu": _mean(hu, bone),
        "soft_hu": _mean(hu, soft),
        "air_hu": _mean(hu, air),
        "seam": _seam(hu, body),
    }
    if spread is not None:
        deviation = np.asarray(canonical(spread).array, np.float64)
        parts = dict(zip(TISSUES, (body, bone, soft), strict=True))
        values |= {f"spread_{name}": _mean(deviation, part) for name, part in parts.items()}
    if len(draws) > 2:
        values["outlying_draw"] = _outlying([canonical(draw).array[body] for draw in draws])
    return values


def _mean(values: np.ndarray, where: Bool[np.ndarray, "x y z"]) -> float:
    return float(values[where].mean()) if where.any() else float("nan")


def _seam(hu: Float[np.ndarray, "x y z"], body: Bool[np.ndarray, "x y z"]) -> float:
    """The largest mean change between two neighbouring slices, over the median of these means."""
    change = np.abs(np.diff(hu, axis=2))
    both = body[..., 1:] & body[..., :-1]
    means = [
        change[..., z][both[..., z]].mean() for z in range(both.shape[2]) if both[..., z].any()
    ]
    return float(np.max(means) / max(np.median(means), 1e-6)) if len(means) > 1 else float("nan")


def _outlying(draws: Sequence[Float[np.ndarray, " n"]]) -> float:
    """The largest RMS distance of a draw from the mean draw, over the median of these distances."""
    middle = np.mean(draws, axis=0)
    distances = [np.sqrt(np.mean((draw - middle) ** 2)) for draw in draws]
    return float(np.max(distances) / max(np.median(distances), 1e-6))
