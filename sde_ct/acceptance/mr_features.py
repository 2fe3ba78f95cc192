"""Figures of an MR, apart from its anatomy, that show whether it is like the training MRs."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sde_ct.acceptance.asymmetry import Asymmetry, asymmetry
from sde_ct.acceptance.eroded import eroded
from sde_ct.acceptance.ghost import ghost
from sde_ct.acceptance.outline import coarse, faint_body, filled, fine, sure_body
from sde_ct.data.intensity import HISTOGRAM, Percentiles, body_percentiles
from sde_ct.data.regions.body import body_mask
from sde_ct.volumes.volume import Volume, canonical

DARK, MIDDLE, BRIGHT = 0.5, 50.0, 99.5  # percentiles of the MR in the body
VOID = 0.1  # a voxel has no signal below this share of the usual brightness above dark
RIM_MM = 15.0  # depth below the body's surface that is not judged: skin, and air at the skin
FEWEST = 20  # blocks to which a surface is fitted
FAINT = 0.25  # a voxel this share of the way from air to the median may belong to the body


class MRFigures(NamedTuple):
    """What is measured of one MR.

    `grey_values` are the `HISTOGRAM` percentiles in the faint body, scaled to 0 at its dark end and
    100 at its bright end. Their mean |difference| between two patients approximates the first
    Wasserstein distance of the grey values, in percent of the way from dark to bright.
    """

    values: dict[str, float]  # of `features.FEATURES`
    grey_values: Float[np.ndarray, " n"]
    asymmetry: Asymmetry


def mr_figures(mr: Volume, percentiles: Percentiles) -> MRFigures:
    """The figures of an MR's voxels.

    Args:
      mr: a.u.
      percentiles: of the MR inside the body.
    """
    upright = canonical(mr)
    image = np.asarray(upright.array, np.float64)
    body = canonical(body_mask(mr)).array > 0
    voxel = np.asarray(upright.spacing, float)
    dark, span = percentiles[DARK], max(percentiles[BRIGHT] - percentiles[DARK], 1e-9)
    middle = max(percentiles[MIDDLE] - dark, 1e-9)
    core = eroded(body, voxel, RIM_MM)
    blocks, inner = coarse(image, voxel), coarse(core.astype(float), voxel) > 0.5
    usual = fine(_usual(blocks - dark, inner, middle), image.shape, voxel)
    faint = faint_body(image, voxel, dark + middle, FAINT)
    values = {
        **{f"voxel_{axis}": float(size) for axis, size in zip("xyz", voxel, strict=True)},
        "field_x": float(image.shape[0] * voxel[0]),
        "field_y": float(image.shape[1] * voxel[1]),
        "empty": float(np.mean(~body.any(axis=(0, 1)) | (np.ptp(image, axis=(0, 1)) == 0))),
        **_touching(sure_body(blocks)),
        **_size(faint, voxel),
        "void": _largest((image - dark < VOID * usual) & core) * float(voxel.prod()) / 1000,
        "ghost": ghost(blocks - dark, filled(blocks > dark + FAINT * middle)),
        "uneven": _smooth_variation(np.log(np.maximum((blocks - dark) / span, 0.01)), inner),
        "noise": _roughness(image / span, core),
    }
    grey = _grey_values(body_percentiles(image, faint if faint.any() else np.ones_like(faint)))
    return MRFigures(values, grey, asymmetry((image - dark) / span, body))


def _grey_values(percentiles: Percentiles) -> Float[np.ndarray, " n"]:
    span = max(percentiles[BRIGHT] - percentiles[DARK], 1e-9)
    return np.array([100 * (percentiles[p] - percentiles[DARK]) / span for p in HISTOGRAM])


def _size(body: Bool[np.ndarray, "x y z"], voxel: np.ndarray) -> dict[str, float]:
    """The largest width and depth, the length (mm) and the median area (cm²); 0 without a body."""
    some = body.any(axis=(0, 1))
    widths = [_extent(body.any(axis=axis)) for axis in (1, 0)]
    area = np.median(body.sum(axis=(0, 1))[some]) if some.any() else 0.0
    return {
        "width": float(widths[0][some].max(initial=0) * voxel[0]),
        "depth": float(widths[1][some].max(initial=0) * voxel[1]),
        "area": float(area * voxel[0] * voxel[1] / 100),
        "length": float(some.sum() * voxel[2]),
    }


def _extent(profile: Bool[np.ndarray, "n z"]) -> np.ndarray:
    """Voxels from the first to the last true one of every slice."""
    return profile.shape[0] - profile.argmax(axis=0) - profile[::-1].argmax(axis=0)


def _touching(body: Bool[np.ndarray, "x y z"]) -> dict[str, float]:
    """The largest share of the body's in-plane outline on one edge of the field, along x and y.

    A wide patient may touch both edges a little; a truncated patient lies along one edge.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    cross[:, :, [0, 2]] = False
    outline = body & ~ndimage.binary_erosion(body, cross)
    count = max(int(outline.sum()), 1)
    edges = {"x": (outline[0], outline[-1]), "y": (outline[:, 0], outline[:, -1])}
    return {f"touching_{a}": max(float(e.sum()) for e in two) / count for a, two in edges.items()}


def _largest(mask: Bool[np.ndarray, "x y z"]) -> float:
    """Voxels of the largest connected component."""
    labels, count = ndimage.label(mask)
    return float(np.bincount(labels.ravel())[1:].max()) if count else 0.0


def _usual(
    blocks: Float[np.ndarray, "i j z"], inner: Bool[np.ndarray, "i j z"], middle: float
) -> Float[np.ndarray, "i j z"]:
    """The usual brightness at each place, at most `middle`, the median of the body.

    Far from a surface coil, tissue is dark but not without signal. Voids do not count.
    """
    shown = inner & (blocks > VOID * middle)
    surface = _quadratic(np.log(np.maximum(blocks, VOID * middle)), shown)
    return np.exp(np.minimum(surface, np.log(middle)))


def _smooth_variation(values: np.ndarray, core: np.ndarray) -> float:
    """The standard deviation of the quadratic fit in a mask; NaN if the mask is small."""
    return float(_quadratic(values, core)[core].std()) if core.sum() >= FEWEST else float("nan")


def _quadratic(values: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The quadratic surface that fits the values in a mask best; infinite if the mask is small."""
    index = np.argwhere(core)
    if len(index) < FEWEST:
        return np.full(values.shape, np.inf)
    everywhere = np.moveaxis(np.indices(values.shape), 0, -1)
    place = 2 * (everywhere - index.mean(axis=0)) / np.maximum(np.ptp(index, axis=0), 1)
    columns = np.concatenate([np.ones((*values.shape, 1)), place, place**2], axis=-1)
    solution, *_ = np.linalg.lstsq(columns[core], values[core], rcond=None)
    return columns @ solution


def _roughness(image: np.ndarray, core: np.ndarray) -> float:
    """The median of |second difference| along x in a mask, a measure of noise."""
    second = np.abs(image[2:] - 2 * image[1:-1] + image[:-2])
    inside = core[1:-1] & core[2:] & core[:-2]
    return float(np.median(second[inside])) if inside.any() else float("nan")
