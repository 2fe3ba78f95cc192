"""Figures of an MR that show whether it is of the training's kind, apart from its anatomy."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sde_ct.acceptance.eroded import eroded
from sde_ct.data.intensity import HISTOGRAM, Percentiles
from sde_ct.data.regions.body import body_mask
from sde_ct.volumes.volume import Volume, canonical

DARK, MIDDLE, BRIGHT = 0.5, 50.0, 99.5  # percentiles of the MR in the body
VOID = 0.1  # darker than this share of the way from dark to the median is no signal
COARSE_MM = 6.0  # in-plane size of the voxels in which large faults are measured
CLOSING = 2  # of these voxels
RIM_MM = 15.0  # skin and the air at its surface are not judged
OUTLINE = 0.5  # brighter than this share of the way from dark to the median is surely body


def mr_features(mr: Volume, percentiles: Percentiles) -> dict[str, float]:
    """The figures of `features.FEATURES` that the voxels of an MR give.

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
    coarse, inner = _coarse(image, voxel), _coarse(core.astype(float), voxel) > 0.5
    bright = _filled(coarse > dark + OUTLINE * middle)
    some = body.any(axis=(0, 1))
    widths = [_extent(body.any(axis=axis)) for axis in (1, 0)]
    return {
        **{f"voxel_{axis}": float(size) for axis, size in zip("xyz", voxel, strict=True)},
        "field_x": float(image.shape[0] * voxel[0]),
        "field_y": float(image.shape[1] * voxel[1]),
        "empty": float(np.mean(~some | (np.ptp(image, axis=(0, 1)) == 0))),
        **_touching(bright),
        "width": float(widths[0].max() * voxel[0]),
        "depth": float(widths[1].max() * voxel[1]),
        "area": float(np.median(body.sum(axis=(0, 1))[some]) * voxel[0] * voxel[1] / 100),
        "length": float(some.sum() * voxel[2]),
        "void": _largest((image < dark + VOID * middle) & core) * float(voxel.prod()) / 1000,
        "ghost": _ghost(coarse - dark, bright),
        "uneven": _smooth_variation(np.log(np.maximum((coarse - dark) / span, 0.01)), inner),
        "noise": _roughness(image / span, core),
    }


def grey_values(percentiles: Percentiles) -> Float[np.ndarray, " n"]:
    """The `HISTOGRAM` percentiles of the MR in the body, 0 at its dark and 100 at its bright end.

    The mean difference of those of two patients is the first Wasserstein distance of their grey
    values, in percent of the way from dark to bright.
    """
    span = max(percentiles[BRIGHT] - percentiles[DARK], 1e-9)
    return np.array([100 * (percentiles[p] - percentiles[DARK]) / span for p in HISTOGRAM])


def _coarse(image: Float[np.ndarray, "x y z"], voxel: np.ndarray) -> Float[np.ndarray, "i j z"]:
    """Means over blocks in plane of about `COARSE_MM`; edge voxels fill up the last blocks."""
    fx, fy = (max(1, round(COARSE_MM / side)) for side in voxel[:2])
    padded = np.pad(image, ((0, -image.shape[0] % fx), (0, -image.shape[1] % fy), (0, 0)), "edge")
    nx, ny, nz = padded.shape
    return padded.reshape(nx // fx, fx, ny // fy, fy, nz).mean(axis=(1, 3))


def _filled(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The mask with its gaps and holes closed in every slice."""
    padded = np.pad(mask, ((CLOSING, CLOSING), (CLOSING, CLOSING), (0, 0)))
    planes = [
        ndimage.binary_fill_holes(ndimage.binary_closing(padded[..., z], iterations=CLOSING))
        for z in range(mask.shape[2])
    ]
    return np.stack(planes, axis=-1)[CLOSING:-CLOSING, CLOSING:-CLOSING]


def _extent(profile: Bool[np.ndarray, "n z"]) -> np.ndarray:
    """Voxels from the first to the last true one of every slice."""
    return profile.shape[0] - profile.argmax(axis=0) - profile[::-1].argmax(axis=0)


def _touching(body: Bool[np.ndarray, "x y z"]) -> dict[str, float]:
    """The shares of the body's in-plane outline that lie on the edges of the field of view."""
    cross = ndimage.generate_binary_structure(3, 1)
    cross[:, :, [0, 2]] = False
    outline = body & ~ndimage.binary_erosion(body, cross)
    count = max(int(outline.sum()), 1)
    return {
        "touching_x": float(outline[[0, -1]].sum() / count),
        "touching_y": float(outline[:, [0, -1]].sum() / count),
    }


def _ghost(signal: Float[np.ndarray, "x y z"], bright: Bool[np.ndarray, "x y z"]) -> float:
    """The strength of a copy of the image that is displaced by a quarter to half of the field.

    It is the largest slope, over both in-plane axes and all such displacements, of the signal
    outside the bright body on the displaced signal.
    """
    outside = ~bright
    if outside.sum() < 2:
        return 0.0
    signal = np.maximum(signal, 0)
    own = signal[outside] - signal[outside].mean()
    slopes = [0.0]
    for axis in (0, 1):
        length = signal.shape[axis]
        for shift in range(length // 4, length - length // 4 + 1):
            other = np.roll(signal, shift, axis)[outside]
            other = other - other.mean()
            slopes.append(float(own @ other / max(other @ other, 1e-9)))
    return max(slopes)


def _largest(mask: Bool[np.ndarray, "x y z"]) -> float:
    """Voxels of the largest connected component."""
    labels, count = ndimage.label(mask)
    return float(np.bincount(labels.ravel())[1:].max()) if count else 0.0


def _smooth_variation(values: np.ndarray, core: np.ndarray) -> float:
    """The standard deviation of the quadratic surface that fits the values in a mask best."""
    index = np.argwhere(core)
    if len(index) < 20:
        return float("nan")
    place = 2 * (index - index.mean(axis=0)) / np.maximum(np.ptp(index, axis=0), 1)
    columns = [np.ones(len(index)), *place.T, *(place**2).T]
    matrix = np.stack(columns, axis=1)
    solution, *_ = np.linalg.lstsq(matrix, values[core], rcond=None)
    return float((matrix @ solution).std())


def _roughness(image: np.ndarray, core: np.ndarray) -> float:
    """The median of |second difference| along x in a mask, a measure of noise."""
    second = np.abs(image[2:] - 2 * image[1:-1] + image[:-2])
    inside = core[1:-1] & core[2:] & core[:-2]
    return float(np.median(second[inside])) if inside.any() else float("nan")
