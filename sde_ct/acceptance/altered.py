"""Altered MRs of training patients: networks err more on them, and the real CTs are known."""

import numpy as np

from sde_ct.acceptance.mr_features import BRIGHT, DARK
from sde_ct.data.intensity import Percentiles
from sde_ct.volumes.volume import Volume

KINDS = ("gamma", "inverse", "field", "noise", "blur")


def altered(mr: Volume, percentiles: Percentiles, number: int) -> Volume:
    """The MR with altered contrast, coil sensitivity, noise or blur; `number` sets kind and degree.

    Args:
      mr: a.u.
      percentiles: of the MR inside the body.
      number: 0 or more; the same number gives the same voxels.
    """
    rng = np.random.default_rng(number)
    kind, strength = KINDS[number % len(KINDS)], rng.uniform(0.2, 1.0)
    low, high = percentiles[DARK], max(percentiles[BRIGHT], percentiles[DARK] + 1e-9)
    image = np.asarray(mr.array, np.float64)
    share = np.clip((image - low) / (high - low), 0, 1)
    if kind == "gamma":
        share = share ** np.exp(rng.choice((-1, 1)) * 1.2 * strength)
    elif kind == "inverse":
        turned = np.where(share > 0.05, 1 - share, share)
        share = (1 - strength) * share + strength * turned
    elif kind == "field":
        axis = rng.integers(2)
        ramp = np.linspace(-1, 1, image.shape[axis]).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        share = share * np.exp(1.2 * strength * ramp)
    elif kind == "noise":
        share = np.hypot(share + 0.15 * strength * rng.normal(size=share.shape),
                         0.15 * strength * rng.normal(size=share.shape))  # fmt: skip
    else:
        shifted = [np.roll(share, step, axis) for axis in range(2) for step in (-1, 1)]
        share = (1 - strength) * share + strength * np.mean(shifted, axis=0)
    return mr.with_array((low + share * (high - low)).astype(np.float32))
