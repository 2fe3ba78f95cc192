"""Read the contours of structure sets and turn them into masks."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydicom.dataset import Dataset
from scipy import ndimage
from skimage.measure import points_in_poly

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.slice import LARGEST_MM, is_empty, may_be_dicom, read_header
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import Volume

if TYPE_CHECKING:
    from scipy.spatial import KDTree

# The sequences of an RTSTRUCT, and the tag of their items that holds the number of a structure.
NUMBERS = {
    "StructureSetROISequence": "ROINumber",
    "ROIContourSequence": "ReferencedROINumber",
    "RTROIObservationsSequence": "ReferencedROINumber",
}
STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"  # SOP class of an RTSTRUCT
LEAST = 3  # points; a stroke of a drawing tool with fewer points has no area
OFF_PLANE = 0.1  # share of the slice distance; a contour may bend or miss a slice by this much
GAP_MM = 15.0  # nothing is interpolated between contours that are farther apart
SAME_MM = 0.1  # contours that are nearer to each other count as touching
ALONG = 0.5  # a contour that follows another for more of its length than this is a copy

Polygon = Float[np.ndarray, "n 3"]  # RAS mm


class Roi(NamedTuple):
    """One structure."""

    set: str  # label, name and description of the structure set
    name: str
    kind: str  # RT ROI interpreted type: EXTERNAL, ORGAN, …; may be empty
    frame: str  # frame of reference; may be empty
    polygons: tuple[Polygon, ...]  # closed
    instance: str  # UID of the structure set


def is_structure_set(file: Path) -> bool:
    """Whether a file is an RTSTRUCT. Raises InputError if it may be one but cannot be read."""
    header = read_header(file) if may_be_dicom(file) else Dataset()
    if header.get("SOPClassUID") == STORAGE:
        _required(header, "Modality", file)
    return header.get("Modality") == "RTSTRUCT"


def read_structures(file: Path) -> tuple[Roi, ...]:
    """The structures of an RTSTRUCT file that have closed planar contours.

    Raises InputError if the file is damaged, holds no structure set or lacks a tag.
    """
    header = read_header(file)
    with decoding(file):
        # An undamaged file has all three sequences; a file that was cut short lacks the last.
        if lacking := [keyword for keyword in NUMBERS if keyword not in header]:
            raise InputError(f"{file} lacks {', '.join(lacking)}: export the structures again")
        rois, contours, observations = (
            {int(_required(item, number, file, keyword)): item for item in header[keyword].value}
            for keyword, number in NUMBERS.items()
        )
        labels = ("StructureSetLabel", "StructureSetName", "SeriesDescription")
        label = ", ".join(dict.fromkeys(str(header[k].value) for k in labels if header.get(k)))
        structures = [
            Roi(
                label,
                str(roi.get("ROIName") or ""),
                str(observations.get(number, Dataset()).get("RTROIInterpretedType") or "").upper(),
                str(roi.get("ReferencedFrameOfReferenceUID") or ""),
                tuple(
                    _polygon(contour, file)
                    for contour in contours.get(number, Dataset()).get("ContourSequence") or ()
                    if _has_area(contour, file)
                ),
                str(header.get("SOPInstanceUID") or file),
            )
            for number, roi in rois.items()
        ]
    return tuple(roi for roi in structures if roi.polygons)


def _required(item: Dataset, keyword: str, file: Path, within: str = "") -> Any:
    """The value of a tag. Raises InputError if the item of the sequence `within` lacks it."""
    if is_empty(item, keyword):
        place = f" in {within}" if within else ""
        raise InputError(f"{file} lacks {keyword}{place}: export the structures again")
    return item[keyword].value


def _has_area(contour: Dataset, file: Path) -> bool:
    kind = str(_required(contour, "ContourGeometricType", file, "ContourSequence"))
    count = int(contour.get("NumberOfContourPoints") or LEAST)
    return kind.startswith("CLOSED") and count >= LEAST


def _polygon(contour: Dataset, file: Path) -> Polygon:
    values = _required(contour, "ContourData", file, "ContourSequence")
    points = np.array([float(v) for v in values]).reshape(-1, 3)
    count = int(contour.get("NumberOfContourPoints") or len(points))
    if len(points) != count or not (np.abs(points) < LARGEST_MM).all():
        raise InputError(
            f"{file} has a contour with missing or impossible points: export the structures again"
        )
    return points @ swap_lps_ras(np.eye(4))[:3, :3].T


def rasterise(polygons: Sequence[Polygon], like: Volume) -> Volume:
    """A mask (uint8) on the grid of `like`: 1 where a voxel's centre lies inside the contours.

    Each contour must lie in a plane parallel to the slices (the last axis is the slice index). In a
    plane, contours that cross or repeat each other are united. A contour inside another is a hole
    (even-odd rule), as is the inner loop of a keyhole contour. For a slice between two planes, at
    most `GAP_MM` apart, the signed distances to both outlines are interpolated, and their zero
    level is the outline (Raya & Udupa, IEEE Trans. Med. Imaging 9(1):32, 1990). A slice beyond the
    first or last plane copies its mask if it is at most half the distance between planes away.

    Raises InputError if a contour is not parallel to the slices, or no voxel is marked.
    """
    planes = _planes(polygons, like)
    places = np.array(sorted(planes))
    masks = [_combine(planes[place], like) for place in places]
    step = float(like.spacing[2])
    beyond = max(0.5, float(np.median(np.diff(places))) / 2 if len(places) > 1 else 0.5)
    mask = np.zeros(like.array.shape, np.uint8)
    for k in range(mask.shape[2]):
        nearest = int(np.abs(places - k).argmin())
        after = int(np.searchsorted(places, k))
        if abs(places[nearest] - k) <= OFF_PLANE:
            mask[..., k] = masks[nearest]
        elif after in (0, len(places)):
            mask[..., k] = masks[nearest] if abs(places[nearest] - k) <= beyond + 1e-6 else 0
        elif (places[after] - places[after - 1]) * step <= GAP_MM:
            share = (k - places[after - 1]) / (places[after] - places[after - 1])
            mask[..., k] = _between(masks[after - 1], masks[after], share, like.spacing[:2])
    if not mask.any():
        raise InputError("the contours contain no voxel of the image")
    return like.with_array(mask, "mask")


def _planes(polygons: Sequence[Polygon], like: Volume) -> dict[float, list[np.ndarray]]:
    """The contours in voxel indices, by the index of their plane, which may be fractional."""
    to_index = np.linalg.inv(like.affine)
    planes: dict[float, list[np.ndarray]] = {}
    for polygon in polygons:
        index = polygon @ to_index[:3, :3].T + to_index[:3, 3]
        place = float(index[:, 2].mean())
        if np.abs(index[:, 2] - place).max() > OFF_PLANE:
            raise InputError("the contours are not drawn along the image's slices")
        near = next((p for p in planes if abs(p - place) <= OFF_PLANE), place)
        planes.setdefault(near, []).append(index[:, :2])
    return planes


def _combine(polygons: Sequence[np.ndarray], like: Volume) -> Bool[np.ndarray, "x y"]:
    """The voxel centres inside the contours of one plane, given in voxel indices.

    Contours that cross or repeat each other are united first. The unions do not cross, so the
    even-odd rule makes a hole only where one union lies inside another.
    """
    from scipy.sparse.csgraph import connected_components  # imported only if there are contours

    outlines = [_Outline(polygon * like.spacing[:2]) for polygon in polygons]
    joined = np.zeros((len(polygons), len(polygons)), bool)
    for i, a in enumerate(outlines):
        for j, b in enumerate(outlines[:i]):
            joined[i, j] = a.is_near(b) and (a.is_joined_to(b) or b.is_joined_to(a))
    _, group = connected_components(joined, directed=False)
    inside = np.zeros(like.array.shape[:2], bool)
    for number in np.unique(group):
        members = [p for p, g in zip(polygons, group, strict=True) if g == number]
        inside ^= np.any([_fill(polygon, inside.shape) for polygon in members], axis=0)
    return inside


class _Outline:
    """A contour in mm, sampled densely for comparison with other contours."""

    def __init__(self, polygon: Float[np.ndarray, "n 2"]):
        self.polygon = polygon
        self.low, self.high = polygon.min(axis=0) - SAME_MM, polygon.max(axis=0) + SAME_MM

    @cached_property
    def points(self) -> Float[np.ndarray, "p 2"]:
        return _along(self.polygon, 5 * SAME_MM)

    @cached_property
    def tree(self) -> "KDTree":
        from scipy.spatial import KDTree  # takes a sixth of a second to import

        return KDTree(_along(self.polygon, SAME_MM / 2))

    def is_near(self, other: "_Outline") -> bool:
        """Whether the bounding rectangles of the two contours overlap."""
        return bool((self.low <= other.high).all() and (other.low <= self.high).all())

    def is_joined_to(self, other: "_Outline") -> bool:
        """Whether this contour crosses the other, or follows it for most of its length.

        Points that are nearer to the other contour than `SAME_MM` count as lying on it.
        """
        nearest, _ = other.tree.query(self.points, distance_upper_bound=SAME_MM)
        apart = np.isinf(nearest)
        inside = points_in_poly(self.points, other.polygon)
        crosses = (apart & inside).any() and (apart & ~inside).any()
        return bool(crosses or np.mean(~apart) > ALONG)


def _along(polygon: np.ndarray, step: float) -> Float[np.ndarray, "n 2"]:
    """Equally spaced points on a closed contour, at most `step` mm apart."""
    closed = np.vstack([polygon, polygon[:1]])
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))]
    at = np.linspace(0, length[-1], int(np.ceil(length[-1] / step)) + 2)
    return np.column_stack([np.interp(at, length, closed[:, axis]) for axis in (0, 1)])


def _fill(start: np.ndarray, shape: tuple[int, int]) -> Bool[np.ndarray, "x y"]:
    """The voxel centres inside one contour by the even-odd rule, line by line along y."""
    toggles = np.zeros((shape[0], shape[1] + 1), np.int64)
    end = np.roll(start, -1, axis=0)
    first = np.ceil(np.minimum(start[:, 0], end[:, 0])).astype(int)
    count = np.ceil(np.maximum(start[:, 0], end[:, 0])).astype(int) - first
    edge = np.repeat(np.arange(len(start)), count)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    a, b = start[edge], end[edge]
    y = a[:, 1] + (line - a[:, 0]) * (b[:, 1] - a[:, 1]) / (b[:, 0] - a[:, 0])
    inside = (line >= 0) & (line < shape[0])
    crossing = np.clip(np.ceil(y[inside]), 0, shape[1]).astype(int)
    np.add.at(toggles, (line[inside], crossing), 1)
    return np.cumsum(toggles, axis=1)[:, :-1] % 2 == 1


def _between(a, b, share: float, spacing) -> Bool[np.ndarray, "x y"]:
    def signed(mask):
        inside = ndimage.distance_transform_edt(mask, sampling=spacing)
        return inside - ndimage.distance_transform_edt(~mask, sampling=spacing)

    if not a.any() or not b.any():
        return a if share < 0.5 else b
    return (1 - share) * signed(a) + share * signed(b) > 0
