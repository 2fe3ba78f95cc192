"""What dose engines are handed, read back as they read it; gamma against closed forms."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.errors import InputError
from sde_ct.evaluation import dose
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.volume import Volume

from ..programs import call
from ..volumes.dicom.test_dose import DOSE, write_dose

SHAPE = (12, 10, 6)


def _oblique():
    """Axes to the left, anterior and superior, turned by 10 degrees about z; mm."""
    c, s = np.cos(0.17), np.sin(0.17)
    affine = np.array([[-2 * c, -2.5 * s, 0, 40], [-2 * s, 2.5 * c, 0, -30], [0, 0, 3, 7.0]])
    return np.vstack([affine, [0, 0, 0, 1]])


def _volumes():
    rng = np.random.default_rng(0)
    ct = np.rint(rng.normal(0, 300, SHAPE))
    body = np.zeros(SHAPE, bool)
    body[2:-2, 2:-2] = True
    make = [(ct, "HU"), (ct + 17, "HU"), (body, "mask")]
    return [Volume(array, _oblique(), unit) for array, unit in make]


def _as_matrad_reads(path):
    """Header lines until the data; then the last bytes as a column-major block, as fread does."""
    content = path.read_bytes()
    head = content[: content.index(b"ElementDataFile = LOCAL") + 24].decode()
    fields = dict(line.split(" = ", 1) for line in head.strip().splitlines())
    dims = [int(n) for n in fields["DimSize"].split()]
    dtype = {"MET_SHORT": "<i2", "MET_UCHAR": "u1"}[fields["ElementType"]]
    assert fields["BinaryDataByteOrderMSB"] == "False" and fields["CompressedData"] == "False"
    data = np.frombuffer(content[-np.prod(dims) * np.dtype(dtype).itemsize :], dtype)
    return data.reshape(dims, order="F"), [float(s) for s in fields["ElementSpacing"].split()]


@pytest.fixture
def exported(tmp_path):
    ct, sct, body = _volumes()
    bladder = body.with_array(np.arange(SHAPE[0])[:, None, None] * body.array > 6)
    dose.export_case(tmp_path / "p1", ct, sct, body, {"Bladder": bladder})
    return tmp_path / "p1"


def test_matrad_sees_left_posterior_superior(exported):
    ct, _, body = _volumes()
    for name, volume in (("ct", ct), ("structures/BODY", body)):
        cube, spacing = _as_matrad_reads(exported / f"{name}.mha")
        # Stored: to the left, anterior, superior. matRad's cubes run to the left and posterior.
        assert np.array_equal(cube, volume.array[:, ::-1])
        assert spacing == pytest.approx([2, 2.5, 3])
    assert {path.name for path in (exported / "structures").iterdir()} == {
        *("BODY.mha", "Bladder.mha")  # matRad takes every file in the folder as a structure
    }


def test_every_voxel_keeps_its_place_in_the_patient(exported):
    ct, sct, body = _volumes()
    for name, volume in (("ct", ct), ("sct", sct), ("structures/BODY", body)):
        image = sitk.ReadImage(str(exported / f"{name}.mha"))
        for index in ((0, 0, 0), (11, 9, 5), (3, 7, 2)):
            left, posterior, z = np.array([-1, -1, 1, 1])[:3] * (volume.affine @ [*index, 1])[:3]
            there = image.TransformPhysicalPointToIndex((left, posterior, z))
            assert image[there] == volume.array[index]
        assert image.GetPixelID() == (sitk.sitkUInt8 if "BODY" in name else sitk.sitkInt16)


def _as_pyradplan_guesses(path):
    """The rule of `pyRadPlan.io.sitk_based.infer_image_kind`, release 0.5.0."""
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    if voxels.dtype.kind in "bu":
        return "structures"
    if voxels.min() < 0:
        return "ct"
    if voxels.dtype.kind == "i":
        return "structures" if len(np.unique(voxels)) <= 64 else "ct"
    return "dose"


def test_pyradplan_guesses_right_what_is_exported(exported):
    guessed = {path: _as_pyradplan_guesses(path) for path in exported.rglob("*.mha")}
    named = {path: "structures" if path.parent != exported else "ct" for path in guessed}
    assert guessed == named and len(guessed) == 4
    spread = write_volume(exported / "std.mha", _volumes()[0].with_array(np.ones(SHAPE), "HU"))
    assert _as_pyradplan_guesses(spread) == "structures"  # why no spread is exported


def test_what_is_not_exported(exported):
    ct, sct, body = _volumes()
    with pytest.raises(InputError, match="p1 exists"):
        dose.export_case(exported, ct, sct, body)
    moved = Volume(body.array, body.affine + np.eye(4, k=3), "mask")
    with pytest.raises(InputError, match="Rectum lies on another grid"):
        dose.export_case(exported.with_name("p2"), ct, sct, body, {"Rectum": moved})
    assert not exported.with_name("p2").exists()


def _dose(array, affine=None):
    return Volume(array, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine, "a.u.")


def test_gamma_of_known_doses():
    pytest.importorskip("pymedphys", reason="pymedphys is absent: pip install '.[dose]'")
    flat = np.full((14, 12, 10), 2.0)
    # 1.5 % more everywhere: no distance helps, so gamma is 1.5 / 3 and 1.5 / 2.
    got = dose.gamma(_dose(flat), _dose(1.015 * flat))
    assert [(g.dose_percent, g.distance_mm) for g in got] == [(3, 3), (2, 2)]
    assert [g.mean for g in got] == pytest.approx([0.5, 0.75]) and got[0].voxels == flat.size
    assert [g.passed for g in got] == [1, 1]
    assert [g.passed for g in dose.gamma(_dose(flat), _dose(1.025 * flat))] == [1, 0]
    # The same place by another order of axes and another origin of indices.
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = 26
    turned = _dose(1.015 * flat[::-1], affine)
    assert dose.gamma(_dose(flat), turned)[0].mean == pytest.approx(0.5)


def test_gamma_of_a_shifted_ramp():
    """A ramp of g Gy/mm, moved by δ mm: γ = (g δ / ΔD) / √(1 + (g Δd / ΔD)²)."""
    pytest.importorskip("pymedphys", reason="pymedphys is absent: pip install '.[dose]'")
    ramp = np.broadcast_to(1 + np.arange(24)[:, None, None] * 0.06, (24, 5, 5))
    slope, shift = 0.03, 1.5
    (first, _) = dose.gamma(_dose(ramp[4:-4]), _dose(ramp + slope * shift, _shifted(8)))
    tolerated = 0.03 * ramp[4:-4].max()
    expected = slope * shift / tolerated / np.sqrt(1 + (slope * 3 / tolerated) ** 2)
    # The search goes in steps of 0.3 mm: above the true minimum by a little.
    assert first.mean == pytest.approx(expected, rel=0.03) and first.mean >= expected


def _shifted(mm):
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = -mm
    return affine


def test_doses_that_are_not_compared():
    pytest.importorskip("pymedphys", reason="pymedphys is absent: pip install '.[dose]'")
    one = np.ones((4, 4, 4))
    with pytest.raises(InputError, match="differ in direction"):
        dose.gamma(_dose(one), _dose(one, _oblique()))
    for wrong in (-one, 0 * one, one * np.nan):
        with pytest.raises(InputError, match="evaluated dose is empty, negative or not finite"):
            dose.gamma(_dose(one), _dose(wrong))


@pytest.fixture
def cohort(tmp_path):
    ct, sct, body = _volumes()

    def save(path, array):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.asarray(array, np.int16), ct.affine), path)

    ct.array[:2] = -1000
    for name in ("a", "b"):
        save(tmp_path / f"ref/{name}/ct.nii.gz", ct.array)
        save(tmp_path / f"ref/{name}/mask.nii.gz", body.array)
        save(tmp_path / f"sct/{name}.nii.gz", sct.array)
        save(tmp_path / f"oar/{name}/Rectum.nii.gz", body.array)
    return tmp_path


def test_the_program_exports_what_it_evaluates(cohort):
    usual = [f"--prediction={cohort / 'sct'}", f"--reference={cohort / 'ref'}"]
    usual += [f"--export-dose={cohort / 'dose'}", f"--structures={cohort / 'oar'}"]
    done = call("evaluate", *usual, f"--output={cohort / 'out'}")
    assert done.status == 0, done.err
    written = {str(path.relative_to(cohort / "dose")) for path in cohort.glob("dose/**/*.mha")}
    files = ("ct.mha", "sct.mha", "structures/BODY.mha", "structures/Rectum.mha")
    assert written == {f"{name}/{file}" for name in "ab" for file in files}
    assert "dose/a exists" in call("evaluate", *usual, f"--output={cohort / 'new'}").error
    usual[2] = f"--export-dose={cohort / 'dose2'}"
    (cohort / "oar/b/Rectum.nii.gz").unlink()
    error = call("evaluate", *usual, f"--output={cohort / 'new'}").error
    assert "oar/b holds no structures" in error
    assert not (cohort / "new").exists() and not (cohort / "dose2").exists()


def test_a_structure_called_body_stops_nothing(cohort):
    """Planning systems export the outline among the structures; the mask has that name here."""
    mask = cohort / "ref/b/mask.nii.gz"
    (cohort / "oar/b/body.nii.gz").write_bytes(mask.read_bytes())
    usual = [f"--prediction={cohort / 'sct'}", f"--reference={cohort / 'ref'}"]
    usual += [f"--export-dose={cohort / 'dose'}", f"--structures={cohort / 'oar'}"]
    done = call("evaluate", *usual, f"--output={cohort / 'out'}")
    assert done.status == 0 and "oar/b/body.nii.gz, because the name BODY is reserved" in done.err
    names = ["BODY.mha", "Rectum.mha"]
    assert sorted(p.name for p in (cohort / "dose/b/structures").iterdir()) == names
    assert len(json.loads((cohort / "out/metrics.json").read_text())["cases"]) == 2


def test_a_prediction_that_is_not_in_hu_is_not_exported(cohort):
    image = nib.load(cohort / "sct/a.nii.gz")
    moved = np.asarray(image.dataobj) + 1024
    nib.save(nib.Nifti1Image(moved.astype(np.int16), image.affine), cohort / "sct/a.nii.gz")
    usual = [f"--prediction={cohort / 'sct'}", f"--reference={cohort / 'ref'}"]
    usual += [f"--export-dose={cohort / 'dose'}", f"--output={cohort / 'out'}"]
    done = call("evaluate", *usual)
    assert done.status == 0 and "not exported for dose: a" in done.err
    assert [path.name for path in (cohort / "dose").iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("name", "affine", "sentence"),
    [
        ("Rectum", np.diag([2.0, 2, 2, 1]), "oar/b/Rectum.nii.gz (12 x 10 x 6 voxels of 2 x 2"),
    ],
    ids=["grid"],
)
def test_an_export_that_cannot_be_leaves_nothing_behind(cohort, name, affine, sentence):
    """Neither figures, so that the same command goes, mended, nor the cases before it."""
    (cohort / "oar/b/Rectum.nii.gz").unlink()
    image = nib.load(cohort / "ref/b/mask.nii.gz")
    moved = nib.Nifti1Image(image.dataobj, image.affine if affine is None else affine)
    nib.save(moved, cohort / f"oar/b/{name}.nii.gz")
    usual = [f"--prediction={cohort / 'sct'}", f"--reference={cohort / 'ref'}"]
    usual += [f"--export-dose={cohort / 'dose'}", f"--structures={cohort / 'oar'}"]
    usual += [f"--output={cohort / 'out'}"]
    assert sentence in call("evaluate", *usual).error
    assert not (cohort / "out").exists() and not (cohort / "dose").exists()
    (cohort / f"oar/b/{name}.nii.gz").unlink()
    nib.save(image, cohort / "oar/b/Rectum.nii.gz")
    assert call("evaluate", *usual).status == 0


def test_doses_are_read_from_rtdose_too(tmp_path, monkeypatch):
    """The grid that pymedphys is to be given; it need not be there for that."""
    seen = []
    monkeypatch.setattr(dose, "find_spec", lambda name: name)
    monkeypatch.setattr(dose, "gamma", lambda *pair: seen.extend(pair))
    file = write_dose(tmp_path / "RD.dcm")
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.float32), np.eye(4)), tmp_path / "d.nii")
    dose.gamma_of_files([file, tmp_path / "d.nii"])
    assert seen[0].array.max() == pytest.approx(DOSE.max()) and seen[1].array.shape == (3, 3, 3)
    with pytest.raises(InputError, match="is a folder: give the file of the dose"):
        dose.gamma_of_files([file, tmp_path])


def test_what_is_missing_is_told_before_any_file_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(dose, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pymedphys is missing; pip install"):
        dose.gamma_of_files([tmp_path / "none"] * 2)


def test_the_program_compares_two_doses(cohort):
    usual = [f"--prediction={cohort / 'sct'}", f"--reference={cohort / 'ref'}"]
    usual += [f"--output={cohort / 'out'}"]
    assert "give two dose grids" in call("evaluate", *usual, "--gamma=one").error
    pytest.importorskip("pymedphys", reason="pymedphys is absent: pip install '.[dose]'")
    for name, factor in (("real", 1.0), ("synthetic", 1.015)):
        image = nib.Nifti1Image(np.full((8, 8, 6), 2 * factor, np.float32), np.diag([2, 2, 2, 1]))
        nib.save(image, cohort / f"{name}.nii.gz")
    pair = f"--gamma={cohort / 'real.nii.gz'},{cohort / 'synthetic.nii.gz'}"
    done = call("evaluate", *usual, pair)
    assert done.status == 0, done.err
    assert "Gamma 3 % / 3 mm above 10 % of the maximum: 100.0% of 384 voxels pass" in done.out
    record = json.loads((cohort / "out/gamma.json").read_text())
    assert record["criteria"][0]["mean"] == pytest.approx(0.5, abs=1e-5)
