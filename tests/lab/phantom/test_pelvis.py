"""The pelvis phantom: determinism, the controlled ambiguity, tissue values, files."""

import json
from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde_ct.errors import InputError
from sde_ct.lab.phantom.pelvis import draw_outcome, pelvis_patient, write_cohort
from sde_ct.lab.phantom.shapes import Chain, Ellipsoid, Grid
from sde_ct.lab.phantom.tissues import PROPERTIES, Tissue, spin_echo

SMALL = {"shape": (40, 30, 5), "spacing": (10.0, 10.0, 16.0)}


@pytest.fixture(scope="module")
def patients():
    return [pelvis_patient(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def fine():
    """Thin slices: 2 mm apart."""
    return pelvis_patient(11, shape=(96, 72, 40), spacing=(4.2, 4.2, 2.0))


def test_same_seed_same_patient_and_other_seed_another():
    first, again, other = (pelvis_patient(seed, **SMALL) for seed in (5, 5, 6))
    for name in ("mr", "ct", "mask", "labels", "ambiguous"):
        a, b = getattr(first, name), getattr(again, name)
        assert np.array_equal(a.array, b.array) and np.array_equal(a.affine, b.affine), name
    assert not np.array_equal(first.mr.array, other.mr.array)
    assert not np.allclose(first.mr.affine, other.mr.affine)


@pytest.mark.parametrize("seed", range(4))
def test_mr_does_not_tell_the_outcome(seed):
    bone, air = (pelvis_patient(seed, bone_like=outcome) for outcome in (True, False))
    for name in ("mr", "mask", "labels", "ambiguous"):
        assert np.array_equal(getattr(bone, name).array, getattr(air, name).array), name
    region = bone.ambiguous.array > 0
    assert region.sum() >= 25 and region.any(axis=(0, 1)).sum() >= 3
    # Voxels half filled keep about half the contrast of 1600 HU; the whole ones keep it all.
    difference = bone.ct.array - air.ct.array
    assert difference[region].min() > 700
    assert np.percentile(difference[region], 75) == pytest.approx(1600, abs=2)
    # Nothing changes further than a blurred voxel from the region.
    near = difference != 0
    assert near.sum() < 6 * region.sum()
    # Dark against the muscle around it, as gas and cortical bone are.
    muscle = np.median(bone.mr.array[bone.labels.array == Tissue.MUSCLE])
    assert np.median(bone.mr.array[region]) < 0.4 * muscle


@pytest.mark.parametrize("prior", [0.0, 0.3, 0.5, 1.0])
def test_outcomes_follow_the_prior(prior):
    draws = [draw_outcome(seed, prior) for seed in range(2000)]
    assert abs(np.mean(draws) - prior) <= 4 * np.sqrt(prior * (1 - prior) / len(draws))
    patient = pelvis_patient(3, prior=prior, **SMALL)
    assert patient.bone_like == draw_outcome(3, prior) and patient.prior == prior


def test_a_visible_prior_is_told_by_brightness_and_nothing_else():
    """The region's signal steps up with the prior, from above fat's; everything else stays."""
    for seed in range(3):
        ratios = []
        for prior in (0.1, 0.3, 0.5, 0.7, 0.9):
            shown = pelvis_patient(seed, prior=prior, prior_visible=True)
            region, muscle = shown.ambiguous.array > 0, shown.labels.array == Tissue.MUSCLE
            # The brightest voxels: those that the region fills.
            inside = np.percentile(shown.mr.array[region], 75)
            ratios.append(inside / np.median(shown.mr.array[muscle]))
        fat = np.median(shown.mr.array[shown.labels.array == Tissue.FAT])
        assert ratios[0] > fat / np.median(shown.mr.array[muscle])
        steps = np.array(ratios[1:]) / ratios[:-1]
        assert steps == pytest.approx(2.85**0.2, rel=0.05)
    bone, air = (
        pelvis_patient(0, prior=0.3, prior_visible=True, bone_like=outcome)
        for outcome in (True, False)
    )
    assert np.array_equal(bone.mr.array, air.mr.array)
    plain, again = (pelvis_patient(0, prior=prior) for prior in (0.5, 0.9))
    assert np.array_equal(plain.mr.array, again.mr.array)  # not visible: the MR knows no prior


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


def test_images_are_plausible(patients):
    for patient in patients:
        mr, ct = patient.mr.array, patient.ct.array
        body = patient.mask.array > 0
        assert mr.dtype == np.float32 and np.isfinite(mr).all() and mr.min() >= 0
        assert np.array_equal(ct, ct.astype(np.int16)) and (ct >= -1024).all()
        assert np.array_equal(body, patient.labels.array > 0)
        # Mean of the air: -1000 but for the rim, which the body shares.
        assert np.median(ct[~body]) == pytest.approx(-1000, abs=2)
        assert np.median(mr[~body]) < 0.1 * np.median(mr[body])
        width = np.ptp(np.flatnonzero(body.any(axis=(1, 2)))) * patient.mr.spacing[0]
        depth = np.ptp(np.flatnonzero(body.any(axis=(0, 2)))) * patient.mr.spacing[1]
        assert 320 < width < 430 and 200 < depth < 300


@pytest.mark.parametrize(
    ("tissue", "low", "high"),
    [
        (Tissue.FAT, -115, -80),
        (Tissue.MUSCLE, 25, 60),
        (Tissue.URINE, -5, 25),
        (Tissue.FEMORAL_HEAD, 180, 420),
        (Tissue.CORTEX, 350, 1300),  # thinner than a voxel: partial volume
        (Tissue.PROSTATE_CENTRAL, 15, 60),
    ],
)
def test_tissues_have_their_hounsfield_units(patients, tissue, low, high):
    for patient in patients:
        assert low < np.median(patient.ct.array[patient.labels.array == tissue]) < high


def test_mr_intensity_alone_does_not_tell_the_tissue(patients):
    """Fatty marrow and fat, and bone and gas, look alike in MR and differ by hundreds of HU."""

    def signal(*tissues):
        return np.mean(
            [spin_echo(p.t1, p.t2, p.pd, tr=5000, te=95) for p in (PROPERTIES[t] for t in tissues)]
        )

    assert signal(Tissue.FEMORAL_HEAD) == pytest.approx(signal(Tissue.FAT), rel=0.25)
    assert max(signal(Tissue.CORTEX), signal(Tissue.GAS)) < 1e-3
    for patient in patients:
        mr, ct, body = patient.mr.array, patient.ct.array, patient.mask.array > 0
        dark = ct[body & (mr < np.percentile(mr[body], 4))]
        assert (dark > 300).mean() > 0.03 and (dark < -300).mean() > 0.03


def test_spin_echo_limits():
    assert spin_echo(800.0, 50.0, 0.8, tr=1e6, te=0.0) == pytest.approx(0.8)
    half = spin_echo(1000.0, 80.0, 1.0, tr=1000 * np.log(2), te=80 * np.log(2))
    assert half == pytest.approx(0.25)  # half recovered, half decayed


def test_patients_differ(patients):
    for tissue in (Tissue.URINE, Tissue.FAT, Tissue.PROSTATE_CENTRAL, Tissue.CANCELLOUS):
        volumes = [
            (p.labels.array == tissue).sum() * np.prod(p.mr.spacing) / 1000 for p in patients
        ]
        assert min(volumes) > 1 and np.std(volumes) > 0.03 * np.mean(volumes), tissue
    for a, b in pairwise(patients):
        assert np.abs(a.ct.array - b.ct.array).mean() > 50


def test_smooth_along_z(fine):
    """Slices 2 mm apart differ far less than slices 20 mm apart: no organ jumps."""
    body = fine.mask.array.any(axis=2)
    ct = fine.ct.array[body]
    near = np.abs(np.diff(ct, axis=1)).mean(axis=0)
    far = np.abs(ct[:, 10:] - ct[:, :-10]).mean()
    assert near.max() < 0.45 * far
    areas = fine.mask.array.sum(axis=(0, 1))
    assert np.abs(np.diff(areas)).max() < 0.02 * areas.mean()


def test_every_tissue_is_there(fine):
    present = set(np.unique(fine.labels.array))
    thin = {Tissue.SKIN, Tissue.SEMINAL_VESICLE, Tissue.CSF}  # may never fill most of a voxel
    assert {int(t) for t in Tissue} - present <= {*thin, Tissue.GAS}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_grid_is_oblique_and_orthonormal(seed):
    patient = pelvis_patient(seed, shape=(6, 5, 2), spacing=(60.0, 60.0, 40.0))
    affine, spacing = patient.mr.affine, patient.mr.spacing
    direction = affine[:3, :3] / spacing
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert np.linalg.det(direction) > 0
    assert not np.allclose(direction, np.eye(3), atol=1e-4)
    assert np.degrees(np.arccos(np.diag(direction))).max() < 7  # nearly RAS
    np.testing.assert_allclose(spacing, (60, 60, 40), rtol=0.0201)


@given(x=st.floats(-60, 60), y=st.floats(-60, 60), radius=st.floats(2, 30), length=st.floats(1, 40))
def test_distances_match_their_closed_forms(x, y, radius, length):
    grid = Grid.of(*(np.full((1, 1, 1), v, np.float32) for v in (x, y)), np.zeros(1, np.float32))
    capsule = Chain.at({z: ((0, 0, radius), (length, 0, radius)) for z in (-1, 1)})
    sphere = Ellipsoid((0, 0, 0), (radius,) * 3)
    expected = np.hypot(x - np.clip(x, 0, length), y) - radius
    for shape, true in ((capsule, expected), (sphere, np.hypot(x, y) - radius)):
        found = shape.distance(grid)
        if found is None:
            assert true > 1  # left out only outside
        elif abs(true) < radius / 2:
            assert found[1].item() == pytest.approx(true, abs=2e-3)


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
        options["shape"] = (40, 30, 6)
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

    monkeypatch.setattr("sde_ct.lab.phantom.pelvis.nib.save", stop)
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
