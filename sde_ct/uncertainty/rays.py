"""Rays from a gantry angle to the points of a target, and their lengths in the voxels of an image.

Gantry angles are those of IEC 61217 for a patient who lies head first and supine on a couch at 0°:
the beam comes from anterior at 0°, from the patient's left at 90°, from posterior at 180° and from
the right at 270°. All rays of an angle begin at one source.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from nibabel.affines import apply_affine
from scipy import ndimage
from scipy.sparse import csr_matrix

from sde_ct.errors import InputError
from sde_ct.volumes.masks import Mask

SOURCE_MM = 1000.0  # from the source to the isocentre
MOST_POINTS = 100  # on a target's surface
AT_ONCE = 256  # rays; bounds the memory of `ray_matrix`

Affine = Float[np.ndarray, "4 4"]


class Rays(NamedTuple):
    """Straight rays, grouped by gantry angle; each group has the order of the target's points."""

    gantry: Float[np.ndarray, " r"]  # degrees, IEC 61217
    starts: Float[np.ndarray, "r 3"]  # the source, RAS mm
    ends: Float[np.ndarray, "r 3"]  # points of the target, RAS mm


def target_points(
    target: Mask, affine: Affine, *, most: int = MOST_POINTS
) -> Float[np.ndarray, "p 3"]:
    """The points of a target to which rays lead, RAS mm.

    The first is the target's centre: the centre of the voxel of the target that is nearest to the
    mean of its voxels, and so inside a target of any shape. The others are centres of voxels on the
    target's surface, where the shortest and the longest paths end: at most `most` of them, thinned
    evenly. Voxels are sorted by z, y and x in RAS, so that the order of the axes in the file
    changes neither the choice between equally near voxels nor the thinning.

    Raises:
        InputError: the target is empty.
    """
    inside = np.asarray(target) > 0
    if not inside.any():
        raise InputError("The target is empty: give a mask with values above 0 in it.")
    voxels = _ordered(apply_affine(affine, np.argwhere(inside)))
    away = np.linalg.norm(voxels - voxels.mean(axis=0), axis=1)
    centre = voxels[away.round(6).argmin()]
    edge = inside & ~ndimage.binary_erosion(inside)
    surface = _ordered(apply_affine(affine, np.argwhere(edge)))
    if len(surface) > most:
        surface = surface[np.linspace(0, len(surface) - 1, most).round().astype(int)]
    return np.concatenate([centre[None], surface])


def rays_to(
    points: Float[np.ndarray, "p 3"],
    gantry: Sequence[float],
    affine: Affine,
    shape: tuple[int, ...],
    *,
    distance: float = SOURCE_MM,
) -> Rays:
    """The rays from every gantry angle to every point.

    For the angle g the source is at isocentre + distance · (-sin g, cos g, 0) in RAS.

    Args:
        points: RAS mm; the first is the isocentre.
        gantry: degrees, IEC 61217.
        affine, shape: of the image that the rays are to cross, voxel indices to RAS mm.
        distance: from the source to the isocentre, mm. Many proton gantries have 2000 or more.

    Raises:
        InputError: no angle, or one that is not finite; no point, or one outside the image; or a
            distance that is not above 0 or leaves a source inside the image.
    """
    angles, points = np.asarray(gantry, float), np.asarray(points, float).reshape(-1, 3)
    if angles.ndim != 1 or angles.size == 0 or not np.isfinite(angles).all():
        raise InputError(f"The gantry angles are {gantry}: give one or more numbers in degrees.")
    outside = ~_inside(points, affine, shape)
    if outside.any() or len(points) == 0:
        raise InputError(
            f"{outside.sum()} of {len(points)} points of the target lie outside the image: give a "
            "target within it, in the same coordinates."
        )
    radians = np.radians(angles)
    towards = np.stack([-np.sin(radians), np.cos(radians), np.zeros_like(radians)], axis=1)
    sources = points[0] + distance * towards
    if not distance > 0 or _inside(sources, affine, shape).any():
        raise InputError(
            f"A source {distance:g} mm from the target does not lie outside the image: give a "
            "longer distance."
        )
    ends = np.tile(points, (len(angles), 1))
    return Rays(np.repeat(angles, len(points)), np.repeat(sources, len(points), axis=0), ends)


def ray_matrix(
    rays: Rays, affine: Affine, shape: tuple[int, ...], *, within: Mask | None = None
) -> csr_matrix:
    """The length in mm of every ray in every voxel, [r, x·y·z] in NumPy's (C) order of voxels.

    A voxel is the parallelepiped about its centre, so an integral over the image is exact (Siddon,
    Med. Phys. 12, 1985). A ray along the face between two voxels is in the one with the higher
    index. Parts of a ray outside the image count as 0.

    Args:
        affine, shape: of the image, voxel indices to RAS mm, in any orientation.
        within: voxels that count, such as the body: a real CT also shows a couch, which a synthetic
            CT does not show. By default, all count.

    Raises:
        InputError: `within` has another shape.
    """
    if within is not None and within.shape != tuple(shape):
        raise InputError(
            f"The mask of the voxels that count has shape {within.shape} and the image "
            f"{tuple(shape)}: resample the mask onto the image's grid."
        )
    to_voxels = np.linalg.inv(affine)
    starts, ends = (apply_affine(to_voxels, points) for points in (rays.starts, rays.ends))
    chunks = [slice(i, i + AT_ONCE) for i in range(0, len(starts), AT_ONCE)]
    parts = [_pieces(starts[chunk], ends[chunk], shape) for chunk in chunks]
    shares, voxels, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    length = np.linalg.norm(rays.ends - rays.starts, axis=1)
    data = shares * np.repeat(length, counts)
    if within is not None:
        data *= np.asarray(within).reshape(-1)[voxels] > 0
    begins = np.concatenate([[0], np.cumsum(counts)])
    matrix = csr_matrix((data, voxels, begins), (len(starts), int(np.prod(shape))))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _pieces(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, ...]):
    """The pieces into which voxel faces cut rays; `starts`, `ends` are voxel coordinates [r, 3].

    Returns the share of the ray in each piece, the piece's voxel, and each ray's number of pieces.
    """
    step, first, last, cuts = ends - starts, 0.0, 1.0, []
    for axis, size in enumerate(shape):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            cut = (np.arange(size + 1) - 0.5 - starts[:, axis, None]) / step[:, axis, None]
        cut = np.nan_to_num(cut)  # 0 / 0 on a face that the ray runs along; no cut is needed
        first = np.maximum(first, cut[:, [0, -1]].min(axis=1, keepdims=True))
        last = np.minimum(last, cut[:, [0, -1]].max(axis=1, keepdims=True))
        cuts.append(cut)
    first = np.minimum(first, 1.0)
    cut = np.sort(np.clip(np.concatenate(cuts, axis=1), first, np.maximum(first, last)), axis=1)
    share = np.diff(cut, axis=1)
    ray, piece = np.nonzero(share)
    middle = (cut[ray, piece] + cut[ray, piece + 1]) / 2
    index = np.floor(starts[ray] + middle[:, None] * step[ray] + 0.5).astype(int)
    index = np.clip(index, 0, np.array(shape) - 1)  # rounding at the image's faces
    return share[ray, piece], np.ravel_multi_index(index.T, shape), np.count_nonzero(share, axis=1)


def _ordered(points: Float[np.ndarray, "p 3"]) -> Float[np.ndarray, "p 3"]:
    """The points sorted by z, then y, then x, to a thousandth of a millimetre."""
    return points[np.lexsort(points.round(3).T)]


def _inside(points: np.ndarray, affine: Affine, shape: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    """Whether points in mm lie in a voxel of the image."""
    index = apply_affine(np.linalg.inv(affine), points)
    return ((index >= -0.5) & (index <= np.array(shape) - 0.5)).all(axis=1)
