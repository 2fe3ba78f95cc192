"""Targets from masks and RTSTRUCT files, and what is refused."""

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sde_ct.errors import InputError
from sde_ct.lab.phantom.delineations import contours
from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.volumes.target import find_target, read_target, require_targets, targets_in
from sde_ct.volumes.volume import Volume, reordered

OWNER = Invented("ID-4711", "Doe^Jane")
AFFINE = np.diag([-1.5, 2.0, 3.0, 1.0])
MR = Volume(np.zeros((20, 18, 9), np.float32), AFFINE, "a.u.")


def box(start: int) -> Volume:
    mask = np.zeros(MR.array.shape, np.uint8)
    mask[start : start + 5, 6:12, 2:6] = 1
    return MR.with_array(mask, "mask")


@pytest.fixture
def plans(tmp_path):
    """`t.nii.gz` in another order of voxels; `RTSTRUCT00001.dcm` with two ROIs; and one with one.

    The folder's name has a colon, as a name may.
    """
    folder = tmp_path / "a:b"
    folder.mkdir()
    turned = reordered(box(3), np.diag([1.0, -1.0, 1.0, 1.0]))
    nib.save(nib.Nifti1Image(turned.array, turned.affine), folder / "t.nii.gz")
    rois = {"PTV: 1": contours(box(3)), "Rectum": contours(box(11))}
    save_all(folder, [structures(OWNER, "Plan", "MR", rois, {})], [1])
    save_all(folder, [structures(OWNER, "Plan", "MR", {"PTV": contours(box(3))}, {})], [2])
    return folder


@pytest.mark.parametrize(
    "given", ["t.nii.gz", "RTSTRUCT00001.dcm:PTV: 1", "RTSTRUCT00002.dcm", "RTSTRUCT00002.dcm:PTV"]
)
def test_a_target_lies_on_the_grid_of_the_image(plans, given):
    target = read_target(f"{plans}/{given}", MR, "the MR", OWNER.frame("MR"))
    np.testing.assert_array_equal(target.array, box(3).array)
    np.testing.assert_array_equal(target.affine, AFFINE)


REFUSED = {
    "gone": ("none.nii.gz", "--target=.*none.nii.gz does not exist: give a mask, or an RTSTRUCT"),
    "a folder": ("", "is a folder: give a mask"),
    "no ROI named": (
        "RTSTRUCT00001.dcm",
        "holds 2 ROIs: end the target with .*: 'PTV: 1', 'Rectum'",
    ),
    "an unknown ROI": ("RTSTRUCT00001.dcm:GTV", "holds 0 ROIs 'GTV': .*'PTV: 1', 'Rectum'"),
    "an ROI of a mask": ("t.nii.gz:PTV", "is not an RTSTRUCT and has no ROI 'PTV'"),
    "text": ("text.nii.gz", "text.nii.gz is damaged"),
    "empty": ("empty.nii.gz", "empty.nii.gz is empty: mark the target"),
    "full": ("full.nii.gz", "full.nii.gz marks every voxel: mark the target alone"),
    "elsewhere": ("moved.nii.gz", r"moved.nii.gz \(.*\) lies on another grid than the MR"),
    "outside": (
        "RTSTRUCT00003.dcm",
        "ROI 'PTV' of .* is not a target in the MR: the contours contain no",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(plans, case):
    given, sentence = REFUSED[case]
    (plans / "text.nii.gz").write_text("no image")
    for name, array in {"empty": box(3).array * 0, "full": box(3).array * 0 + 1}.items():
        nib.save(nib.Nifti1Image(array, AFFINE), plans / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image(box(3).array, AFFINE * 1.1), plans / "moved.nii.gz")
    away = AFFINE.copy()
    away[2, 3] = 500
    outlines = contours(Volume(box(3).array, away, "mask"))
    save_all(plans, [structures(OWNER, "Plan", "MR", {"PTV": outlines}, {})], [3])
    with pytest.raises(InputError, match=sentence):
        read_target(f"{plans}/{given}", MR, "the MR", OWNER.frame("MR"))


def test_contours_in_another_frame_of_reference_are_refused(plans):
    with pytest.raises(InputError, match="another frame of reference than the MR"):
        read_target(f"{plans}/RTSTRUCT00002.dcm", MR, "the MR", OWNER.frame("another MR"))


def test_a_folder_holds_masks_and_contours_by_case(plans):
    (plans / "t.nii.gz").rename(plans / "anna.nii.gz")
    (plans / "RTSTRUCT00001.dcm").rename(plans / "bert.dcm")
    for given, case in ((f"{plans}", "anna"), (f"{plans}:PTV: 1", "bert")):
        target = read_target(find_target(given, case), MR, "the MR", OWNER.frame("MR"))
        np.testing.assert_array_equal(target.array, box(3).array)
    alone = f"{plans / 'bert.dcm'}:PTV: 1"
    assert targets_in(f"{plans}:PTV: 1")["bert"] == find_target(alone, "anyone") == alone
    with pytest.raises(InputError, match=r"--targets=.*a:b holds no target for carl: name it carl"):
        find_target(f"{plans}", "carl", "targets")
    with pytest.raises(InputError, match="end the target with ':' and the name of one of its ROIs"):
        read_target(find_target(f"{plans}", "bert"), MR, "the MR")
    (plans / "anna.dcm").touch()
    with pytest.raises(InputError, match=r"anna.nii.gz and .*anna.dcm are both 'anna': rename one"):
        find_target(f"{plans}", "bert")


def test_a_target_that_fits_no_case_is_refused_at_once(plans):
    require_targets(f"{plans}", ["t", "carl"])  # one case may lack its target
    require_targets(f"{plans}/RTSTRUCT00001.dcm:Rectum", ["carl"])
    for given, cases, sentence in (
        (f"{plans}/none", ["carl", "dora"], "--target=.*none does not exist: give a mask, or an"),
        (":PTV", ["carl"], "--target=:PTV does not exist"),
        (f"{plans}", ["carl", "dora"], "--target=.* holds no target for carl, dora: name each .*"),
        (f"{plans}/t.nii.gz", ["carl", "dora"], "is one target for 2 cases: give a folder"),
    ):
        with pytest.raises(InputError, match=sentence):
            require_targets(given, cases)


def test_rois_of_one_name_are_told_apart_by_no_target(plans):
    path = plans / "RTSTRUCT00001.dcm"
    plan = pydicom.dcmread(path)
    for roi in plan.StructureSetROISequence:
        roi.ROIName = "PTV"
    plan.save_as(path)
    with pytest.raises(InputError, match="holds 2 ROIs 'PTV': give each ROI a name of its own"):
        read_target(f"{path}:PTV", MR, "the MR", OWNER.frame("MR"))
