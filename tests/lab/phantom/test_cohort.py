"""Cohorts of phantoms on disk: what is written, kept and refused."""

import json

import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.lab.phantom.cohort import write_cohort
from sde_ct.lab.phantom.pelvis import draw_outcome, pelvis_patient
from sde_ct.lab.phantom.scanner import SCANNERS
from sde_ct.lab.phantom.tissues import Tissue

from ...programs import call

SMALL = {"shape": (24, 18, 4), "spacing": (16.0, 16.0, 20.0)}


def test_a_cohort_of_visible_priors(tmp_path):
    priors = (0.2, 0.8)
    asked = SMALL | {"visible_priors": priors}
    folders = write_cohort(tmp_path, 4, 5, **asked)
    records = [json.loads((folder / "phantom.json").read_text()) for folder in folders]
    assert [r["prior"] for r in records] == [0.2, 0.8, 0.2, 0.8]
    assert all(r["prior_visible"] for r in records)
    assert all(r["bone_like"] == draw_outcome(r["patient_seed"], r["prior"]) for r in records)
    write_cohort(tmp_path, 4, 5, **asked)  # the same request: they stay
    with pytest.raises(InputError, match="holds another"):
        write_cohort(tmp_path, 4, 5, prior=0.2, **SMALL)
    with pytest.raises(InputError, match=r"between 0 and 1, not 2"):
        write_cohort(tmp_path / "b", 1, 5, visible_priors=(0.2, 2), **SMALL)


def test_cohort_round_trip(tmp_path):
    folders = write_cohort(tmp_path, 2, 7, progress=iter, **SMALL)
    assert [f.relative_to(tmp_path).as_posix() for f in folders] == [
        "Task1/pelvis/1PA001",
        "Task1/pelvis/1PA002",
    ]
    for folder in folders:
        record = json.loads((folder / "phantom.json").read_text())
        patient = pelvis_patient(record["patient_seed"], **SMALL)
        assert record["bone_like"] == patient.bone_like and record["prior"] == 0.5
        for name in ("mr", "ct", "mask", "ambiguous"):
            image = nib.load(folder / f"{name}.nii.gz")
            volume = getattr(patient, name)
            assert np.array_equal(np.asarray(image.dataobj), volume.array), name
            for form in (image.get_sform, image.get_qform):
                affine, code = form(coded=True)
                assert code == 1
                np.testing.assert_allclose(affine, volume.affine, atol=1e-3)  # float32 header
        assert nib.load(folder / "ct.nii.gz").get_data_dtype() == np.int16
        assert nib.load(folder / "mask.nii.gz").get_data_dtype() == np.uint8
    assert sorted(p.name for p in folders[0].parent.iterdir()) == ["1PA001", "1PA002"]


def test_cohort_keeps_complete_patients(tmp_path):
    first = write_cohort(tmp_path, 1, 7, **SMALL)[0]
    before = (first / "mr.nii.gz").stat().st_mtime_ns
    longer = write_cohort(tmp_path, 2, 7, **SMALL)
    assert (first / "mr.nii.gz").stat().st_mtime_ns == before and longer[1].is_dir()


@pytest.mark.parametrize("spoil", ["seed", "shape", "missing file", "broken record"])
def test_cohort_refuses_other_patients(tmp_path, spoil):
    folder = write_cohort(tmp_path, 1, 7, **SMALL)[0]
    options = dict(SMALL)
    if spoil == "shape":
        options["shape"] = (24, 18, 5)
    elif spoil == "missing file":
        (folder / "ct.nii.gz").unlink()
    elif spoil == "broken record":
        (folder / "phantom.json").write_text("{")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(InputError, match="1PA001"):
        write_cohort(tmp_path, 2, 8 if spoil == "seed" else 7, **options)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert not folder.with_name("1PA002").exists()


def test_interrupted_patient_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nibabel.save", stop)
    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path, 1, 7, **SMALL)
    monkeypatch.undo()
    assert list((tmp_path / "Task1" / "pelvis").iterdir()) == []
    assert write_cohort(tmp_path, 1, 7, **SMALL)[0].is_dir()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"shape": (8, 8)}, "shape"),
        ({"shape": (8, 8, 0)}, "shape"),
        ({"spacing": (1.0, -1.0, 2.0)}, "spacing"),
        ({"spacing": (1.0, float("nan"), 2.0)}, "spacing"),
        ({"shape": (8, 8, 40), "spacing": (20.0, 20.0, 10.0)}, "400 mm along z .* 360 mm or less"),
        ({"prior": 1.5}, "prior"),
    ],
)
def test_bad_requests_are_named(tmp_path, options, word):
    with pytest.raises(InputError, match=word):
        pelvis_patient(0, **options)
    with pytest.raises(InputError, match=word):
        write_cohort(tmp_path / "new", 1, 0, **options)
    with pytest.raises(InputError, match="seed"):
        write_cohort(tmp_path / "new", 1, -1)
    with pytest.raises(InputError, match="patients"):
        write_cohort(tmp_path / "new", 0, 0)
    assert not (tmp_path / "new").exists()


def test_a_scanner_changes_the_mr_alone(tmp_path):
    """Scanner B shows less T2 contrast: fat is less bright beside muscle."""
    a, b = (write_cohort(tmp_path / name, 1, 7, scanner=name, **SMALL)[0] for name in "AB")
    for name in ("ct", "mask", "ambiguous"):
        assert (a / f"{name}.nii.gz").read_bytes() == (b / f"{name}.nii.gz").read_bytes()
    assert json.loads((b / "phantom.json").read_text())["scanner"] == "B"
    write_cohort(tmp_path / "B", 1, 7, scanner="B", **SMALL)
    with pytest.raises(InputError, match="holds another"):
        write_cohort(tmp_path / "B", 1, 7, **SMALL)
    ratios = []
    for name in ("A", "B"):
        patient = pelvis_patient(3, scanner=SCANNERS[name])
        median = {t: np.median(patient.mr.array[patient.labels.array == t]) for t in Tissue}
        ratios.append(median[Tissue.FAT] / median[Tissue.MUSCLE])
    # PD (1 - exp(-TR/T1)) exp(-TE/T2) in the middle of TR and TE, with 7 % of either tissue in the
    # other, gives 3.6 and 2.3. Voxels that reach into a neighbouring tissue lower both alike.
    assert ratios[0] / ratios[1] == pytest.approx(3.6 / 2.3, rel=0.15)


@pytest.mark.parametrize("count", [0, 10_001, 10**12])
def test_a_cohort_has_a_bounded_number_of_patients(tmp_path, count):
    with pytest.raises(InputError, match=f"patients={count}: give 1 to 10000"):
        write_cohort(tmp_path / "new", count, 0, **SMALL)
    done = call("phantom", "--layout=synthrad2023", f"--output={tmp_path}", "--patients=10001")
    assert done.error == "patients=10001: give 1 to 10000."
    assert not list(tmp_path.iterdir())


def test_all_phantoms_of_a_larger_cohort_are_prepared(tmp_path):
    write_cohort(tmp_path / "cohort", 9, seed=0)
    places = f"--input={tmp_path / 'cohort'}", f"--output={tmp_path / 'data'}"
    done = call("prepare", "--source=phantom", *places, "--workers=1")
    assert done.status == 0 and "9 of 9 patients" in done.out
