"""RTSTRUCT files as structures of the dose export: volumes against closed forms, and refusals."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.lab.phantom.delineations import contours, delineations
from sde_ct.lab.phantom.dicom import Invented, images, save_all, structures
from sde_ct.lab.phantom.tissues import Tissue
from sde_ct.volumes.volume import Volume

from ..programs import call

OWNER = Invented("ID-4711", "Doe^Jane")
SHAPE = (60, 50, 30)
STEPS = (1.5, 2.0, 3.0)  # mm
CENTRE = np.array([29.6, 24.3, 14.2])
RADIUS = 30.0  # mm


def _anatomy() -> Volume:
    """A bladder that is a sphere, and two boxes as femoral heads, in a body of muscle.

    Axes point to the left, to the front and up, so that the order of voxels is not that of RAS.
    """
    affine = np.diag([-STEPS[0], *STEPS[1:], 1.0])
    affine[:3, 3] = (40, -60, 7)
    labels = np.full(SHAPE, Tissue.AIR.value, np.uint8)
    labels[3:-3, 3:-3] = Tissue.MUSCLE
    labels[5:8, 20:30, 10:20] = labels[-8:-5, 20:30, 10:20] = Tissue.FEMORAL_HEAD
    offset = (np.moveaxis(np.indices(SHAPE), 0, -1) - CENTRE) * STEPS
    labels[np.linalg.norm(offset, axis=-1) < RADIUS] = Tissue.URINE
    return Volume(labels, affine, "a.u.")


ANATOMY = _anatomy()
HU = np.where(ANATOMY.array == Tissue.AIR, -1000, 40).astype(np.int16)


@pytest.fixture
def place(tmp_path):
    """One case `a`, the phantom's consensus as its structures, and the usual flags."""
    for folder in ("ref", "sct"):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(HU, ANATOMY.affine), tmp_path / folder / "a.nii.gz")
    (tmp_path / "oar/a").mkdir(parents=True)
    _, consensus, _ = delineations(OWNER, ANATOMY, np.random.default_rng(0))
    save_all(tmp_path / "oar/a", [consensus], [1])
    return tmp_path


def evaluate(place, reference="ref"):
    flags = {"reference": reference, "structures": "oar", "export-dose": "dose", "output": "out"}
    paths = [f"--{flag}={place / path}" for flag, path in flags.items()]
    return call("evaluate", f"--prediction={place / 'sct/a.nii.gz'}", *paths)


def draw(place, rois, frame="MR", types=None):
    save_all(place / "oar/a", [structures(OWNER, "More", frame, rois, types or {})], [2])


def box(*corner):
    mask = np.zeros(SHAPE, np.uint8)
    mask[tuple(slice(at, at + 4) for at in corner)] = 1
    return contours(ANATOMY.with_array(mask))


def exported(place):
    return {path.name.removesuffix(".mha") for path in (place / "dose/a/structures").iterdir()}


def test_the_rois_of_an_rtstruct_are_exported_on_the_grid_of_the_ct(place):
    done = evaluate(place)
    assert done.status == 0, done.err
    assert exported(place) == {"BODY", "Bladder", "Femoral_heads"}
    assert (
        "RTSTRUCT00001.dcm, ROI 'External', because the body mask takes the place of the outline"
        in done.err
    )
    ct = sitk.ReadImage(place / "dose/a/ct.mha")
    masks = {}
    for name in ("Bladder", "Femoral_heads"):
        image = sitk.ReadImage(place / f"dose/a/structures/{name}.mha")
        assert image.GetSize() == ct.GetSize() and image.GetOrigin() == ct.GetOrigin()
        masks[name] = sitk.GetArrayFromImage(image)
    bladder = masks["Bladder"].sum() * np.prod(STEPS)
    assert bladder == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.02)
    # Contours half-way between voxels give the drawn voxels back. The file is LPS, y is turned.
    drawn = ANATOMY.array == Tissue.FEMORAL_HEAD
    assert masks["Femoral_heads"].sum() == drawn.sum() == 600
    np.testing.assert_array_equal(masks["Femoral_heads"].T[:, ::-1], drawn)


def test_names_become_safe_and_what_lies_outside_the_ct_is_left_out(place):
    beyond = [polygon + 1000 for polygon in box(20, 20, 5)]
    rois = {"../PTV 70/35": box(20, 20, 5), "body": box(9, 9, 9), "Couch": beyond}
    draw(place, rois | {"Outer": box(9, 9, 9)}, types={"Outer": "EXTERNAL"})
    mask = nib.Nifti1Image((ANATOMY.array == Tissue.MUSCLE).astype(np.uint8), ANATOMY.affine)
    nib.save(mask, place / "oar/a/Muscle.nii.gz")
    done = evaluate(place)
    assert done.status == 0, done.err
    assert exported(place) == {"BODY", "Bladder", "Femoral_heads", "Muscle", "_PTV_70_35"}
    assert "ROI 'Couch', because the contours contain no voxel of the image" in done.err
    for name in ("body", "Outer"):
        assert f"ROI '{name}', because the body mask takes the place of the outline" in done.err


@pytest.mark.parametrize("name", ["bladder", "Bladder"])
def test_two_structures_of_one_name_are_refused(place, name):
    """Also where only file systems that ignore the case of letters would mix them up."""
    draw(place, {name: box(20, 20, 5)})
    error = evaluate(place).error
    assert f"ROI '{name}' and " in error and "rename or remove one" in error
    assert not (place / "out").exists() and not (place / "dose").exists()


@pytest.mark.parametrize(("frame", "status"), [("CT", 0), ("MR", 2)])
def test_structures_in_another_frame_of_reference_than_a_dicom_ct_are_refused(place, frame, status):
    (place / "dicom").mkdir()
    series = images(OWNER, ANATOMY.with_array(HU), "CT", "CT", "CT", intercept=-1024, tags={})
    save_all(place / "dicom", series, range(len(series)))
    (place / "oar/a/RTSTRUCT00001.dcm").unlink()
    draw(place, {"Bladder": box(20, 20, 5)}, frame)
    done = evaluate(place, "dicom/CT00000.dcm")
    assert done.status == status, done.err
    if status:
        assert "drawn in another frame of reference than" in done.error
        assert not (place / "out").exists() and not (place / "dose").exists()
    else:
        assert exported(place) == {"BODY", "Bladder"}
