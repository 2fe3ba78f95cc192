"""What a network has seen of MRs, and what of a new one it has not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sde_ct.data import seen
from sde_ct.data.inputs import cut_mask
from sde_ct.data.intensity import body_percentiles
from sde_ct.data.regions.body import body_mask
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.slice_grid import slice_grid
from sde_ct.volumes.volume import Volume

SHAPE, SPACING = (64, 48, 8), (6.25, 6.25, 10.0)


def figures(mr, mask=None):
    grid, body = slice_grid(mr), mask or body_mask(mr)
    return seen.figures(grid, cut_mask(body, grid), body_percentiles(mr.array, body.array))


@pytest.fixture(scope="module")
def patients():
    return [pelvis_patient(seed, shape=SHAPE, spacing=SPACING) for seed in range(24)]


@pytest.fixture(scope="module")
def trained(patients):
    """The ranges of 16, as they come back from a file."""
    ranges = seen.ranges([figures(p.mr, p.mask) for p in patients[:16]])
    return json.loads(json.dumps(ranges))


def test_the_figures_of_a_box():
    """10 x 6 voxels of body in slices 1 to 3 of 4, at 2 x 3 x 5 mm; grey values 0 … 100 evenly."""
    mask = np.zeros((20, 16, 4), np.uint8)
    mask[4:14, 5:11, 1:] = 1
    mr = np.zeros(mask.shape, np.float32)
    mr[mask > 0] = np.linspace(0, 100, 180)
    affine = np.diag([2.0, 3.0, 5.0, 1.0])
    box = Volume(mr, affine, "a.u."), Volume(mask, affine, "mask")
    found = figures(*box)
    expected = {
        "voxel_x": 2, "voxel_y": 3, "voxel_z": 5, "field_x": 40, "field_y": 48, "body_z": 15,
        # Percentiles p of even grey values lie (p - 0.5) / 99 of the way.
        "mr_5": 100 * 4.5 / 99, "mr_50": 50, "mr_95": 100 * 94.5 / 99,
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], [value], rtol=1e-5)
    for name, value in {"body_width": 20, "body_depth": 18, "body_area": 3.6}.items():
        np.testing.assert_allclose(found[name], [np.nan, value, value, value])
    # The same image stored along other axes has the same figures.
    axes, flip = [2, 0, 1], np.array([1, -1, 1, 1])
    turned = [
        Volume(v.array.transpose(axes)[:, ::-1], v.affine[:, [*axes, 3]] * flip, v.unit)
        for v in box
    ]
    for name, value in figures(*turned).items():
        np.testing.assert_allclose(value, found[name], err_msg=name)


def test_ranges_are_over_patients_and_slices(patients):
    each = [figures(p.mr, p.mask) for p in patients[:4]]
    found = seen.ranges(each)
    assert found["patients"] == 4 and set(found["figures"]) == set(seen.FIGURES)
    areas = np.concatenate([one["body_area"] for one in each])
    # Four digits are kept.
    np.testing.assert_allclose(found["figures"]["body_area"], [areas.min(), areas.max()], rtol=1e-3)


def test_patients_like_those_of_the_training_are_let_pass(patients, trained):
    """8 new ones, also with an outline of their own; a quarter with a warning would be noise."""
    warned = [p for p in patients[16:] if seen.warnings(trained, figures(p.mr, p.mask))]
    assert len(warned) <= 1
    assert len([p for p in patients[16:] if seen.warnings(trained, figures(p.mr))]) <= 2


def changed(patient, name):
    """The patient as another scanner or another protocol would show it."""
    mr, mask = patient.mr, patient.mask
    if name == "inverted":
        return replace(mr, array=np.where(mask.array > 0, mr.array.max() - mr.array, 0)), mask
    if name == "thick":
        affine = mr.affine @ np.diag([1, 1, 1.5, 1])
    elif name == "small":
        affine = mr.affine @ np.diag([0.6, 0.6, 1, 1])
    elif name == "half":
        return replace(mr, array=mr.array[:32]), replace(mask, array=mask.array[:32])
    else:  # a limb in two slices
        thin = mask.array.copy()
        thin[:, :, 2:4] = 0
        thin[28:40, 20:30, 2:4] = 1
        return mr, replace(mask, array=thin)
    return replace(mr, affine=affine), replace(mask, affine=affine)


OUTSIDE = {
    "inverted": ["median of the scaled MR", "5th percentile"],
    "thick": ["distance between slices is 15", "length of the body along z is 12"],
    "small": ["voxel size from left to right is 3.", "field of view from back to front", "area of"],
    "half": ["field of view from left to right is 20", "width of the body is"],
    "limb": ["area of the body is 47", "in slices 3 to 4 of 8, counted from feet to head"],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_was_never_seen_is_named_with_its_figure_and_the_trainings(name, patients, trained):
    found = seen.warnings(trained, figures(*changed(patients[20], name)))
    for words in OUTSIDE[name]:
        assert any(words in sentence for sentence in found), found
    for sentence in found:
        assert "; the network was trained on " in sentence and "\n" not in sentence


def test_a_short_piece_of_a_known_body_is_nothing_new(patients, trained):
    mr, mask = patients[20].mr, patients[20].mask
    piece = replace(mr, array=mr.array[..., 3:5]), replace(mask, array=mask.array[..., 3:5])
    assert seen.warnings(trained, figures(*piece)) == []


def test_an_older_checkpoint_says_that_nothing_was_checked(patients):
    (sentence,) = seen.warnings(None, figures(patients[0].mr))
    assert sentence.startswith("Not checked")


def percentiles(mr):
    return body_percentiles(mr.array, body_mask(mr).array)


def fat_suppressed(patient):
    """The patient's MR with a quarter of the signal wherever the CT shows fat."""
    fat = (patient.ct.array > -160) & (patient.ct.array < -50)
    return replace(patient.mr, array=np.where(fat, patient.mr.array / 4, patient.mr.array))


def test_suppressed_fat_is_another_contrast_and_new_patients_are_not(patients):
    """8 new patients; a test of 100 gave 83 % of suppressed ones and 1.5 % of the others."""
    contrast = seen.contrast([percentiles(p.mr) for p in patients[:16]])
    trained = json.loads(json.dumps({"contrast": contrast}))
    new = [seen.contrast_warning(trained, percentiles(p.mr)) for p in patients[16:]]
    suppressed = [
        seen.contrast_warning(trained, percentiles(fat_suppressed(p))) for p in patients[16:]
    ]
    assert sum(map(bool, new)) <= 1
    assert sum(map(bool, suppressed)) >= 5
    sentence = next(filter(None, suppressed))
    assert f"the limit is {trained['contrast']['limit']:.1f} %" in sentence


def test_the_distance_of_two_histograms_by_hand():
    """Shifting every percentile by 5 of 100 is a distance of 5 %, beyond the limit of equal MRs."""
    levels = {float(p): float(p) for p in range(0, 101, 5)} | {0.5: 0.0, 99.5: 100.0}
    trained = {"contrast": seen.contrast([levels] * 5)}
    assert trained["contrast"]["limit"] == seen.ROUNDING
    shifted = {p: value + 5 * (p not in (0.5, 99.5)) for p, value in levels.items()}
    assert "differs by 5.0 %" in (seen.contrast_warning(trained, shifted) or "")
    assert seen.contrast_warning(trained, levels) is None


def test_contrast_is_not_judged_without_a_record():
    few = {0.5: 0.0, 5.0: 5.0, 50.0: 50.0, 95.0: 95.0, 99.5: 100.0}
    assert seen.contrast([few] * 9) is None
    assert seen.contrast_warning({"figures": {}}, few) is None
