"""Every check on an input with the fault it is for, and on phantoms, which have none."""

import json

import nibabel as nib
import numpy as np
import pytest

from sde_ct.doctor.check_copies import (
    check_copies,
    check_spacings,
    check_split,
    copies,
    fingerprint,
)
from sde_ct.doctor.check_geometry import check_alignment, check_geometry
from sde_ct.doctor.check_intensities import check_intensities, kind_of
from sde_ct.doctor.check_names import check_names
from sde_ct.doctor.examine_volume import examine
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.formats import FORMATS, Format
from sde_ct.volumes.volume import Volume, left_posterior_superior

GRIDS = [((64, 48, 8), (6.25, 6.25, 10.0)), ((24, 20, 6), (16.0, 16.0, 16.0))]


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(3)


def said(findings) -> str:
    return " | ".join(f"{f.severity}: {f.what}" for f in findings)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_a_phantom_is_healthy(shape, spacing, seed):
    p = pelvis_patient(seed, shape=shape, spacing=spacing)
    volumes = {"MR": p.mr, "CT": p.ct, "mask": p.mask}
    found = [f for kind, volume in volumes.items() for f in check_intensities(volume, kind)]
    assert not said([*found, *check_alignment(p.mr, p.ct), *check_geometry(p.mr)])


def noise(volume, seed=0):
    """As bright as the volume, each voxel for itself."""
    return np.random.default_rng(seed).permutation(volume.array.ravel()).reshape(
        volume.array.shape
    )  # fmt: skip


def with_hole(array):
    """The fourth slice is empty."""
    array = array.copy()
    array[..., 3] = array.min()
    return array


def with_ball(array, value, radius=2):
    array = array.copy()
    x, y, z = np.indices(array.shape)
    array[(x - 40) ** 2 + (y - 24) ** 2 + (z - 4) ** 2 < radius**2] = value
    return array


MR_FAULTS = {
    "constant": (lambda a: np.full_like(a, 7), "error: every voxel is 7"),
    "byte order": (lambda a: a.astype("<i2").byteswap().astype("f4"), "error: neighbouring voxels"),
    "empty slice": (with_hole, "warning: 1 of 8 slices are empty"),
    "8 bits": (lambda a: np.rint(a * (255 / a.max())), "warning: 8-bit intensities"),
    "unit range of few levels": (lambda a: np.rint(a / a.max() * 60) / 60, "8-bit intensities: 61"),
    "clipped": (lambda a: np.minimum(a, np.percentile(a, 90)), "the signal was clipped"),
    "noise": (
        lambda a: np.hypot(*(a / 2**0.5 + 80 * np.random.default_rng(i).normal(size=a.shape)
                             for i in range(2))), "warning: noisy: the body's signal"
    ),
    "cut": (lambda a: a[16:48], "the field of view cuts the body"),
}  # fmt: skip


@pytest.mark.parametrize("fault", MR_FAULTS)
def test_a_fault_of_an_mr_is_named(fault, patient):
    spoil, sentence = MR_FAULTS[fault]
    assert sentence in said(check_intensities(patient.mr.with_array(spoil(patient.mr.array)), "MR"))


CT_FAULTS = {
    "constant": (lambda a: a * 0 - 1000, "every voxel is -1000"),
    "offset": (lambda a: a + 1024, "not in HU (values 0 to 1783): its units look like HU + 1024"),
    "unit range": (lambda a: (a + 1024) / 4096, "it looks scaled to [0, 1] or [-1, 1]"),
    "unsigned 16 bits": (
        lambda a: np.where(a < 0, a + 65536, a),
        "its negative values are 65536 too high, as if read without a sign",
    ),
    "no air": (lambda a: np.maximum(a, 0), "it holds almost no values below -20"),
    "offset of 1000": (lambda a: np.maximum(a + 1000, 0), "its units look like HU + 1000"),
    "offset of 300": (lambda a: a + 300, "no peak of soft tissue near 0 HU"),
    "unrelated": (lambda a: noise(Volume(a, np.eye(4), "HU")), "neighbouring voxels"),
    "empty slice": (with_hole, "1 of 8 slices are empty"),
    "metal": (lambda a: with_ball(a, 2900), "cm3 above 2500 HU (up to 2900)"),
    "metal in an offset": (lambda a: with_ball(a, 2900) + 1024, "(up to 2900)"),
    "12 bits": (lambda a: with_ball(a, 3071), "at 3071 HU, the ceiling of 12 bits"),
}


@pytest.mark.parametrize("fault", CT_FAULTS)
def test_a_fault_of_a_ct_is_named(fault, patient):
    spoil, sentence = CT_FAULTS[fault]
    assert sentence in said(check_intensities(patient.ct.with_array(spoil(patient.ct.array)), "CT"))


@pytest.mark.parametrize(("value", "state"), [(0, "empty"), (1, "full")])
def test_a_mask_that_masks_nothing_is_named(value, state, patient):
    mask = patient.mask.with_array(np.full_like(patient.mask.array, value))
    assert f"the mask is {state}" in said(check_intensities(mask, "mask"))


SHEARED = np.diag([6.25, 6.25, 10, 1]) + np.array([[0, 0, 2, -50], [0] * 4, [0] * 4, [0] * 4])
PLACES = {
    "made up": (np.diag([6.0, 6.0, 10.0, 1.0]), "looks made up, and left and right"),
    "metres": (np.diag([0.006, 0.006, 0.01, 1.0]), "no scanner makes voxels"),
    "microns": (np.diag([6000.0, 6000.0, 9000.0, 1.0]), "no scanner makes voxels"),
    "small": (np.diag([0.3, 0.3, 10.0, 1.0]), "which no body has"),
    "sheared": (SHEARED, "11.3 degrees off a right angle"),
}


@pytest.mark.parametrize("fault", PLACES)
def test_a_fault_of_the_place_is_named(fault, patient):
    affine, sentence = PLACES[fault]
    assert sentence in said(check_geometry(Volume(patient.mr.array, affine, "a.u.")))


def test_two_places_in_one_header_are_named(patient, tmp_path):
    path = write_volume(tmp_path / "mr.nii.gz", patient.mr)
    assert examine(path).volume is not None
    image = nib.Nifti1Image(patient.mr.array, patient.mr.affine + np.eye(4, k=3) * 4)
    image.set_qform(patient.mr.affine, code="scanner")
    nib.save(image, tmp_path / "moved.nii.gz")
    (found,) = examine(tmp_path / "moved.nii.gz").report.findings
    assert found.severity == "error" and "lie up to 4 mm apart" in found.what


def shifted(volume, *voxels):
    return volume.with_array(np.roll(volume.array, voxels, (0, 1, 2)))


def test_misregistration_is_named_and_measured(patient):
    mr, ct = patient.mr, patient.ct
    # Three voxels of 6.25 mm, less what the field of view cuts off.
    found = said(check_alignment(mr, shifted(ct, 3, 0, 0)))
    assert "look misregistered" in found
    shift = float(found.split("centres ")[1].split()[0])
    assert 12 < shift < 20
    assert "different grids" in said(check_alignment(mr, Volume(ct.array[1:], ct.affine, "HU")))
    assert not said(check_alignment(mr, left_posterior_superior(ct)))  # another order of voxels
    far = Volume(ct.array, ct.affine + np.eye(4, k=3) * 1e4, "HU")
    assert "no common part" in said(check_alignment(mr, far))


def test_a_shift_of_a_ct_whose_air_was_set_to_one_value_is_told_in_full(patient):
    """Such air is no padding, which would be left out of what is compared."""
    air = patient.mask.with_array(patient.mask.array == 0)
    masked = patient.ct.with_array(np.where(air.array, -1024, patient.ct.array))
    found = said(check_alignment(patient.mr, shifted(masked, 6, 0, 0)))  # 37.5 mm
    assert float(found.split("centres ")[1].split()[0]) == pytest.approx(
        37.5, abs=1.5 * 6.25
    )  # MR and CT outline the body up to a voxel apart, and centres are rounded


def test_all_slices_of_one_grid_are_compared(patient):
    """Rounding of affines must not lose the outermost slices."""
    moved = patient.ct.with_array(np.roll(patient.ct.array, 3, 0))
    kept = patient.mr.array.copy()
    kept[..., 1:-1] = kept.min()  # only the outermost slices show the body
    found = said(check_alignment(patient.mr.with_array(kept), moved))
    assert "misregistered" in found and "no common part" not in found


def test_a_ct_on_its_own_grid_is_compared_where_both_see(patient):
    """Half the slices at another place of voxel 0: the same body, so only the grid differs."""
    ct = patient.ct
    affine = ct.affine.copy()
    affine[:3, 3] += ct.affine[:3, :3] @ [0, 0, 2]
    part = Volume(ct.array[..., 2:7], affine, "HU")
    (only,) = check_alignment(patient.mr, part)
    assert "different grids" in only.what and "--register" in only.fix


def test_copies_are_found_whatever_the_order_of_axes(patient):
    turned = Volume(
        patient.mr.array[::-1].transpose(2, 0, 1),
        (patient.mr.affine @ _reversed(patient.mr.array.shape[0]))[:, [2, 0, 1, 3]],
        "a.u.",
    )
    prints = {
        "a": fingerprint(patient.mr),
        "b": fingerprint(turned),
        "c": fingerprint(shifted(patient.mr, 1, 0, 0)),
    }
    assert copies(prints) == [("a", "b")]
    assert "a, b have the same MR" in said(check_copies(prints, "MR"))
    leaked = said(check_split({"train": ["a", "c"], "test": ["b"]}, prints))
    assert leaked == "error: a, b hold the same voxels in test and in train"
    assert not said(check_split({"train": ["a", "b"], "test": ["c"]}, prints))
    assert "c is in test and in train" in said(check_split({"train": ["a", "c"], "test": "c"}, {}))


def _reversed(count):
    flip = np.diag([-1.0, 1, 1, 1])
    flip[0, 3] = count - 1
    return flip


def test_a_patient_of_other_voxels_is_named():
    same = {name: (1.0, 1.0, 3.0) for name in "abc"}
    assert not said(check_spacings(same))
    assert "voxels of d differ" in said(check_spacings(same | {"d": (1.0, 1.0, 6.0)}))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mr.nii", "MR"), ("x_T2.mha", "MR"), ("ct_on_grid.nii.gz", "CT"), ("1PA001", "MR")],
)
def test_kinds_are_told_by_name_or_voxels(name, kind, patient):
    assert kind_of(name, patient.mr) == kind
    assert kind_of("1PA001.nii.gz", patient.ct) == "CT"
    assert kind_of("1PA001.nii.gz", patient.mask) == "mask"


def write_nifti(path, **fields):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.diag([2.0, 2, 2, 1]))
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)


def dicom_extension(path):
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.diag([2.0, 2, 2, 1]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"name: Doe^Jane"))
    nib.save(image, path)


LEFT = {
    "description": (
        "a.nii", lambda p: write_nifti(p, descrip=b"Doe^Jane t2"), "a file's NIfTI header: a.nii"
    ),
    "extension": ("a.nii.gz", dicom_extension, "a file's NIfTI header"),
    "known ID": ("b.nii", lambda p: write_nifti(p, db_name=b"j-17"), "a file's NIfTI header"),
    "file name": ("t2_DOE_1.txt", lambda p: p.write_text(""), "folder: t2_[name]_1.txt"),
    "JSON": ("a.json", lambda p: p.write_text(json.dumps({"x": [{"PatientName": "Miller"}]})),
             "text or JSON: a.json"),
    "capitals": ("a.JSON", lambda p: p.write_text(json.dumps({"PatientID": "j-17"})),
                 "text or JSON: a.JSON"),
    "table": ("a.csv", lambda p: p.write_text("case,mae\ndoe,3\n"), "text or JSON"),
    "MetaImage": ("a.mha", lambda p: p.write_bytes(b"NDims = 3\n0010|0010 = Miller\n"),
                  "a file's MetaImage header"),
}  # fmt: skip


def test_the_header_of_every_format_with_free_text_is_searched():
    silent = Format._field_defaults["text"]
    sentences = [sentence for _, _, sentence in LEFT.values()]
    for name, row in FORMATS.items():
        assert row.text is silent or any(f"{name} header" in one for one in sentences), name


@pytest.mark.parametrize("case", LEFT)
def test_names_left_in_files_are_found_and_not_repeated(case, tmp_path):
    name, make, sentence = LEFT[case]
    make(tmp_path / name)
    found = said(check_names(tmp_path, {"doe", "jane", "j-17"}))
    assert sentence in found
    assert not {"doe", "jane", "miller", "j-17"} & set(found.lower().replace("_", " ").split())


def test_files_without_names_are_left_in_peace(tmp_path):
    write_nifti(tmp_path / "mr.nii.gz", descrip=b"FSL 6.0")
    (tmp_path / "metrics.json").write_text(json.dumps({"patient": "1PA001", "PatientName": ""}))
    (tmp_path / "doer.csv").write_text("doers,janet\n")  # no word of its own
    assert not check_names(tmp_path, {"doe", "jane"})
