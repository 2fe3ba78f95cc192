"""Mirror, rotate and deform training slices, the MR and the CT alike.

A network that sees only a few patients often memorises them: its draws for new patients then differ
too little. Deformation makes each slice look like that of another patient.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

# The fields of `sde_ct.types.Batch`, whose import would also import JAX.
Example = Mapping[str, Float[np.ndarray, "..."]]

IMAGES = ("mr", "ct", "valid")  # the fields of an example that are images

# Standard deviations of a deformation of strength 1. Lengths are fractions of the shorter side.
TURN = 0.12  # in radians
SCALE = 0.1  # of the logarithm of the scale along each axis
SHIFT = 0.02  # of the slice along each axis
WARP = 0.02  # of the displacement of each control point along each axis
CONTROL = 4  # control points along each axis


def augment(
    example: Example, rng: np.random.Generator, *, flip: bool, rotate90: bool, deform: float
) -> Example:
    """Mirror, rotate and deform all images [h, w, ·] of an example alike.

    Args:
      example: holds `IMAGES`; other fields are returned unchanged.
      flip: mirror left-right with probability 1/2.
      rotate90: rotate by 90°, 180° or 270° with probability 1/2.
      deform: the strength of a deformation, applied with probability 1/2; see `deformed`.
    """
    turns = int(rng.integers(1, 4)) if rotate90 and rng.random() < 0.5 else 0
    mirror = flip and rng.random() < 0.5

    def turn(image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, turns, axes=(0, 1))
        return np.ascontiguousarray(image[:, ::-1] if mirror else image)

    images: Example = {key: turn(example[key]) for key in example if key in IMAGES}
    if deform and rng.random() < 0.5:
        images = deformed(images, rng, deform)
    return {**example, **images}


def deformed(example: Example, rng: np.random.Generator, strength: float = 1.0) -> Example:
    """Rotate, scale, shift and warp all images [h, w, ·] of an example by one smooth random map.

    Cubic splines keep the fine detail and the noise of the images. They also overshoot at edges, so
    values are clipped to the range of their channel. Pixels that come from outside the slice repeat
    its border and are not valid. Any other pixel is valid if it is interpolated from valid pixels
    only.

    Args:
      strength: a factor on `TURN`, `SCALE`, `SHIFT` and `WARP`.
    """
    where = _random_map(example["ct"].shape[:2], rng, strength)

    def sample(image: np.ndarray) -> np.ndarray:
        moved = map_coordinates(image, where, order=3, mode="nearest")
        return np.clip(moved, image.min(), image.max())

    def move(key: str, field: np.ndarray) -> np.ndarray:
        channels = np.moveaxis(field, -1, 0)
        if key == "valid":
            inside = [map_coordinates(one, where, order=1, mode="constant") for one in channels]
            return np.stack([(one > 0.999).astype(field.dtype) for one in inside], axis=-1)
        return np.stack([sample(one) for one in channels], axis=-1)

    return {key: move(key, field) for key, field in example.items()}


def _random_map(
    shape: tuple[int, ...], rng: np.random.Generator, strength: float
) -> Float[np.ndarray, "2 h w"]:
    """For each pixel of the deformed slice, the (row, column) in the slice that it comes from."""
    side, centre = strength * min(shape), (np.array(shape) - 1) / 2
    angle = rng.normal(0, strength * TURN)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.exp(rng.normal(0, strength * SCALE, 2))[:, None] * turn
    pixels = np.indices(shape, np.float32)
    offsets = pixels - centre[:, None, None]
    place = np.einsum("ij,jhw->ihw", matrix, offsets)
    place += (centre + rng.normal(0, SHIFT * side, 2))[:, None, None]
    control = rng.normal(0, WARP * side, (2, CONTROL, CONTROL))
    at = pixels * ((CONTROL - 1) / np.maximum(np.array(shape) - 1, 1))[:, None, None]
    place += np.stack([map_coordinates(one, at, order=3, mode="nearest") for one in control])
    return place.astype(np.float32)
