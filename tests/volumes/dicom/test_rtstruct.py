"""Contours as masks: areas against closed forms, holes, slices between contours."""

import shutil

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from sde_ct.data.sources.body_contour import body_contour
from sde_ct.errors import InputError
from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.volumes.dicom.rtstruct import is_structure_set, rasterise, read_structures
from sde_ct.volumes.volume import Volume

from ..dicom_series import ACQUISITIONS

SIZE = (70, 60, 9)
SPACING = (1.3, 0.9, 3.0)
OWNER = Invented("ID-4711", "Doe^Jane")


def frame(name="oblique") -> Volume:
    """An MR's place; slices along the normal."""
    row, column = (np.array(v, float) for v in ACQUISITIONS[name])
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([row, column, np.cross(row, column)]) * SPACING
    affine[:3, 3] = (12.5, -80.0, 33.0)
    return Volume(np.zeros(SIZE, np.uint8), affine, "mask")


def circle(like, k, radius, centre=(34.3, 29.6), points=200):
    """A circle of `radius` mm in slice k, RAS mm."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    index = np.column_stack(
        [
            centre[0] + radius / SPACING[0] * np.cos(angle),
            centre[1] + radius / SPACING[1] * np.sin(angle),
            np.full(points, float(k)),
        ]
    )
    return index @ like.affine[:3, :3].T + like.affine[:3, 3]


@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique", "upside down"])
@pytest.mark.parametrize("radius", [3.1, 11.0, 24.7])
def test_the_area_of_a_circle(name, radius):
    """Voxel centres inside: the error is of the order of the edge's voxels over their root."""
    like = frame(name)
    mask = rasterise([circle(like, k, radius) for k in range(SIZE[2])], like).array
    voxel = SPACING[0] * SPACING[1]
    edge = np.sqrt(2 * np.pi * radius / np.sqrt(voxel)) * voxel
    area = mask.sum(axis=(0, 1)) * voxel
    np.testing.assert_allclose(area, np.pi * radius**2, atol=edge)
    middle = np.argwhere(mask).mean(axis=0)
    np.testing.assert_allclose(middle, (34.3, 29.6, 4), atol=0.15)  # no shift of half a voxel


def test_a_polygon_between_voxel_centres():
    """Sub-voxel corners count: a rectangle from 10.4 to 14.6 holds the centres 11 to 14."""
    like = frame("axial")
    corners = [(10.4, 20.51), (14.6, 20.51), (14.6, 22.49), (10.4, 22.49)]
    points = np.array([(x, y, 2) for x, y in corners])
    mask = rasterise([points @ like.affine[:3, :3].T + like.affine[:3, 3]], like).array
    assert sorted(map(tuple, np.argwhere(mask))) == [
        (x, y, 2) for x in range(11, 15) for y in (21, 22)
    ]


def test_a_contour_in_another_is_a_hole_and_what_lies_outside_the_mr_is_cut():
    like = frame()
    ring = [circle(like, k, r) for k in range(-3, 4) for r in (20.0, 12.0)]
    mask = rasterise(ring, like).array
    assert not mask[..., 4:].any() and not mask[34, 29].any() and mask[34, 29 + 18, 0]
    area = mask[..., 0].sum() * SPACING[0] * SPACING[1]
    assert area == pytest.approx(np.pi * (20.0**2 - 12.0**2), rel=0.02)
    wide = rasterise([circle(like, 0, 200.0)], like).array
    assert wide[..., 0].all() and not wide[..., 1:].any()


def disc(*circles):
    """The area in mm2 of the mask of some circles in one slice."""
    return rasterise(list(circles), frame()).array.sum() * SPACING[0] * SPACING[1]


def test_a_contour_that_is_stored_again_counts_once():
    """The same points, the other way round, 0.02 mm apart or with other points are one contour."""
    like = frame()
    once = circle(like, 4, 20)
    again = [
        once,
        np.roll(once, 57, axis=0)[::-1],
        circle(like, 4, 20.02),
        circle(like, 4, 19.98, points=317),
        once + 0.02 * like.affine[:3, 0] / SPACING[0],
    ]
    for other in again:
        # A shift of 0.02 mm moves at most 2.5 mm2 of the edge: two voxels of 1.17 mm2.
        assert disc(once, other) == pytest.approx(disc(once), abs=2.5)
    assert disc(once, *again) == pytest.approx(disc(once), abs=2.5)
    hole = circle(like, 4, 9)
    assert disc(once, again[2], hole, hole) == pytest.approx(disc(once) - disc(hole), abs=2.5)
    # Somebody moved a part of the outline and kept both.
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    bump = once + np.where(np.abs(angle - 2) < 0.5, 0.15, 0)[:, None] * (once - once.mean(axis=0))
    assert disc(once, bump) == disc(bump)


def test_contours_that_cross_are_united_and_touching_or_nested_ones_are_not():
    like = frame()
    a, b = circle(like, 4, 12, (28, 29)), circle(like, 4, 12, (36, 29))
    apart = 8 * SPACING[0]
    lens = 2 * 144 * np.arccos(apart / 24) - apart / 2 * np.sqrt(4 * 144 - apart**2)
    assert disc(a, b) == pytest.approx(2 * np.pi * 144 - lens, rel=0.02)
    hole = circle(like, 4, 3, (22, 29))  # inside the first, outside the second
    assert disc(a, b, hole) == pytest.approx(disc(a, b) - disc(hole), abs=1e-6)
    # Bars that form a cross have no corner inside each other.
    bars = [[(20, 25), (50, 25), (50, 35), (20, 35)], [(30, 10), (40, 10), (40, 50), (30, 50)]]
    cross = [np.array([(x + 0.5, y + 0.5, 4) for x, y in bar]) for bar in bars]
    cross = [bar @ like.affine[:3, :3].T + like.affine[:3, 3] for bar in cross]
    voxels = disc(*cross) / (SPACING[0] * SPACING[1])
    assert voxels == pytest.approx(30 * 10 + 10 * 40 - 10 * 10)
    # A hole that touches its contour in one point stays a hole; an island in it is filled.
    outer, inner = circle(like, 4, 20), circle(like, 4, 10, (42, 29.6))
    island = circle(like, 4, 4, (42, 29.6))
    expected = disc(outer) - disc(inner) + disc(island)
    assert disc(outer, inner, island) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_keyhole_stays_open_also_when_it_is_stored_twice(turn):
    like = frame()
    outer, inner = circle(like, 4, 20), circle(like, 4, 10)[::turn]
    keyhole = np.vstack([outer, outer[:1], inner, inner[:1]])
    assert disc(keyhole) == pytest.approx(np.pi * 300, rel=0.02)
    assert disc(keyhole, keyhole) == disc(keyhole)
    island = circle(like, 4, 5)
    assert disc(keyhole, island) == pytest.approx(disc(keyhole) + disc(island), abs=1e-6)


def test_slices_between_contours_are_interpolated():
    """A cone drawn on every second slice: radii between are the mean of their neighbours'."""
    like = frame()
    drawn = [circle(like, k, 10 + 2 * k) for k in range(0, 9, 2)]
    mask = rasterise(drawn, like).array
    radius = np.sqrt(mask.sum(axis=(0, 1)) * SPACING[0] * SPACING[1] / np.pi)
    np.testing.assert_allclose(radius, 10 + 2 * np.arange(9), atol=0.35)  # a third of a voxel
    drawn = [circle(like, k + 0.5, 15) for k in range(8)]  # on the planes of another scan
    mask = rasterise(drawn, like).array
    area = mask.sum(axis=(0, 1)) * SPACING[0] * SPACING[1]
    np.testing.assert_allclose(area, np.pi * 15**2, rtol=0.02)


def test_contours_across_the_slices_or_apart_are_refused():
    like = frame("axial")
    tilted = circle(like, 4, 15)
    tilted[:, 2] += 0.05 * tilted[:, 0]
    with pytest.raises(InputError, match="not drawn along the image's slices"):
        rasterise([tilted], like)
    with pytest.raises(InputError, match="contain no voxel"):
        rasterise([circle(like, 40, 15)], like)


def write(folder, like, sets, frame="MR", types=None):
    folder.mkdir(exist_ok=True)
    for number, (series, rois) in enumerate(sets.items()):
        polygons = {n: [circle(like, k, r) for k in range(SIZE[2])] for n, r in rois.items()}
        save_all(folder, [structures(OWNER, series, frame, polygons, types or {})], [number])
    return sorted(folder.iterdir())


def volume_radius(mask):
    return np.sqrt(mask.array[..., 4].sum() * SPACING[0] * SPACING[1] / np.pi)


OBSERVERS = {f"External_{n}": 17.0 + n for n in range(5)}  # mm
SETS = {
    "consensus": (
        {"a": OBSERVERS, "Consensus": {"External": 14, "Bladder": 5}, "STAPLE": {"External": 12}},
        14,
        "consensus",
    ),
    "staple": ({"a": OBSERVERS, "staple": {"BODY": 12}}, 12, "staple"),
    "most": ({"a": OBSERVERS}, 19, "majority of 5 similar outlines"),
    "only": ({"a": {"Skin": 16, "Rectum": 4}}, 16, "only outline"),
}


@pytest.mark.parametrize("name", SETS)
def test_the_outline_that_observers_agree_in_is_taken(tmp_path, name):
    sets, radius, why = SETS[name]
    like = frame()
    found = body_contour(write(tmp_path / "s", like, sets), like, OWNER.frame("MR"))
    assert why in found.chosen and not found.warnings
    assert volume_radius(found.mask) == pytest.approx(radius, abs=0.3)


def body_of(radius):
    """An MR that shows a bright cylinder of some mm."""
    like = frame()
    mask = rasterise([circle(like, k, radius) for k in range(SIZE[2])], like).array
    noise = np.random.default_rng(0).integers(0, 20, SIZE)
    return Volume((200.0 * mask + noise).astype("f4"), like.affine, "a.u.")


NODES = {"External iliac nodes": 3, "Body of the uterus": 4, "Skin fold": 2}


@pytest.mark.parametrize("types", [{}, {"outline": "EXTERNAL"}])
def test_structures_whose_names_begin_like_an_outlines_are_none(tmp_path, types):
    """By the whole name, or by the type where one is of it."""
    name = "outline" if types else "BODY"
    files = write(tmp_path / "s", frame(), {"RTSS": {**NODES, name: 16}}, types=types)
    found = body_contour(files, body_of(16), OWNER.frame("MR"))
    assert volume_radius(found.mask) == pytest.approx(16, abs=0.3) and not found.warnings
    assert found.chosen == f"'{name}' of 'RTSS': the only outline of the body"


def test_few_outlines_that_differ_are_not_intersected(tmp_path):
    """The one most like what the MR shows is taken, as of two sets, or of three that differ."""
    sets = {"a": {"Body": 5}, "b": {"Body": 17}, "c": {"External": 24}}
    for count in (2, 3):
        some = dict(list(sets.items())[:count])
        files = write(tmp_path / str(count), frame(), some)
        found = body_contour(files, body_of(16), OWNER.frame("MR"))
        assert volume_radius(found.mask) == pytest.approx(17, abs=0.3)
        assert found.chosen.startswith(f"'Body' of 'b': the most similar of {count} outlines")


def test_an_outline_of_something_else_is_warned_of(tmp_path):
    files = write(tmp_path / "s", frame(), {"RTSS": {"External": 12}})
    found = body_contour(files, body_of(20), OWNER.frame("MR"))
    assert volume_radius(found.mask) == pytest.approx(12, abs=0.3)
    # Of circles of 12 and 20 mm: 2 * 144 / (144 + 400); the computed outline is up to 1 mm wider.
    told = float(found.warnings[0].split("overlap by ")[1].split()[0])
    assert told == pytest.approx(0.53, abs=0.06)


def test_a_slice_whose_area_jumps_is_warned_of(tmp_path):
    """An outline that closes or bulges on one slice; a body that tapers is not warned of."""
    like = frame()
    for name, radii, slices in (
        ("small", [16, 16, 16, 16, 9, 16, 16, 16, 16], "5"),
        ("both", [16, 16, 9, 16, 16, 16, 24, 16, 16], "3, 7"),
        ("tapers", [26, 22, 18, 15, 12, 9, 6, 4, 3], None),
    ):
        rois = {"External": [circle(like, k, radius) for k, radius in enumerate(radii)]}
        folder = tmp_path / name
        folder.mkdir()
        save_all(folder, [structures(OWNER, "Set", "MR", rois, {})], [0])
        found = body_contour(sorted(folder.iterdir()), body_of(16), OWNER.frame("MR"))
        jumps = [warning for warning in found.warnings if "area jumps" in warning]
        assert len(jumps) == (slices is not None)
        assert not jumps or f"jumps at slice {slices} of 9 (counted from 1)" in jumps[0]


def test_a_set_that_was_exported_twice_counts_once(tmp_path):
    files = write(tmp_path / "s", frame(), {"Consensus": {"External": 14}, "b": {"External": 16}})
    twice = [*files, shutil.copy(files[0], tmp_path / "again.dcm")]
    found = body_contour(twice, frame(), OWNER.frame("MR"))
    assert found == body_contour(files, frame(), OWNER.frame("MR"))._replace(mask=found.mask)
    observers = write(tmp_path / "o", frame(), {"a": OBSERVERS})
    twice = [observers[0], shutil.copy(observers[0], tmp_path / "o2.dcm")]
    assert "majority of 5" in body_contour(twice, frame(), OWNER.frame("MR")).chosen


def test_structures_that_cannot_be_used_are_passed_over_with_a_reason(tmp_path):
    like = frame()
    files = write(tmp_path / "s", like, {"Consensus": {"External": 14}, "b": {"External": 16}})
    whole = files[0].read_bytes()
    for length in (100, 900, len(whole) // 2, len(whole) - 200):
        files[0].write_bytes(whole[:length])
        found = body_contour(files, like, OWNER.frame("MR"))
        assert volume_radius(found.mask) == pytest.approx(16, abs=0.3)
        assert found.warnings[0].startswith("a structure set was ignored: ")
    files = write(tmp_path / "t", like, {"b": {"External": 16}}, frame="CT")
    found = body_contour(files, like, OWNER.frame("MR"))
    assert found.mask is None and "another frame of reference" in found.warnings[0]
    files = write(tmp_path / "u", like, {"b": {"Bladder": 16}})
    found = body_contour(files, like, OWNER.frame("MR"))
    assert (found.mask, found.warnings) == (None, ()) and "computed from the MR" in found.chosen
    assert body_contour([], like, "x").chosen.endswith("no structure set")


def test_strokes_without_area_are_passed_over(tmp_path):
    like = frame()
    rois = {"External": [circle(like, 4, 14), circle(like, 4, 9)[:2], circle(like, 5, 9)[:1]]}
    save_all(tmp_path, [structures(OWNER, "Set", "MR", rois, {})], [0])
    (body,) = read_structures(next(tmp_path.iterdir()))
    assert [len(polygon) for polygon in body.polygons] == [200]


@pytest.mark.parametrize("x", [1e6, 1e300])
def test_points_that_are_nowhere_are_refused(tmp_path, x):
    outline = circle(frame(), 4, 14)
    outline[0, 0] = x
    save_all(tmp_path, [structures(OWNER, "Set", "MR", {"External": [outline]}, {})], [0])
    with pytest.raises(InputError, match="missing or impossible points: export"):
        read_structures(next(tmp_path.iterdir()))


def test_what_is_read_is_what_was_written(tmp_path):
    like = frame()
    (file,) = write(tmp_path / "s", like, {"Set": {"External": 14, "Bladder": 5}})
    body, bladder = read_structures(file)
    assert (body.name, body.set, bladder.kind) == ("External", "Set", "ORGAN")
    assert body.frame == OWNER.frame("MR") and len(body.polygons) == SIZE[2]
    # Six digits are written: 0.001 mm beyond 100 mm.
    np.testing.assert_allclose(body.polygons[3], circle(like, 3, 14), atol=1e-3)


# A tag of the file, or of an item that these sequences lead to.
LACKING = {
    "Modality": (),
    "StructureSetROISequence": (),
    "ROIContourSequence": (),
    "RTROIObservationsSequence": (),
    "ROINumber": ("StructureSetROISequence",),
    "ReferencedROINumber": ("ROIContourSequence",),
    "ReferencedROINumber ": ("RTROIObservationsSequence",),
    "ContourGeometricType": ("ROIContourSequence", "ContourSequence"),
    "ContourData": ("ROIContourSequence", "ContourSequence"),
}


def one_set() -> Dataset:
    """A structure set of one ROI with one contour."""
    data = structures(OWNER, "set", "MR", {"PTV": [circle(frame(), 4, 20)]}, {})
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("tag", LACKING)
def test_a_tag_that_is_lacking_is_named(tmp_path, tag, empty):
    place, keyword = LACKING[tag], tag.strip()
    item = data = one_set()
    for step in place:
        item = item[step].value[0]
    if empty and not keyword.endswith("Sequence"):
        setattr(item, keyword, None)
    else:
        delattr(item, keyword)
    file = tmp_path / "RS.dcm"
    data.save_as(file, enforce_file_format=True)
    within = f" in {place[-1]}" if place else ""
    with pytest.raises(InputError, match=f"RS.dcm lacks {keyword}{within}: export the structures"):
        assert is_structure_set(file)
        read_structures(file)


def test_without_any_one_tag_the_outline_is_the_same_or_the_tag_is_named(tmp_path):
    file = tmp_path / "RS.dcm"
    for keyword in [element.keyword for element in one_set()]:
        data = one_set()
        delattr(data, keyword)
        data.save_as(file, enforce_file_format=True)
        try:
            assert is_structure_set(file)
            (roi,) = read_structures(file)
            np.testing.assert_allclose(roi.polygons[0], circle(frame(), 4, 20), atol=1e-3)
        except InputError as error:
            assert f"lacks {keyword}: export" in str(error), keyword
