"""Finding patients in folders."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.data.sources.case_files import KINDS, Case
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.errors import InputError
from sde_ct.lab.phantom.cohort import phantom_cases
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import same_grid

from ...volumes.dicom_series import ORIGIN, SPACING, voxels, write_series
from ..conftest import save


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("start", ["", "Task1", "Task1/pelvis"])
def test_synthrad_from_any_folder_of_it(tmp_path, start):
    touch(tmp_path, *(f"Task1/pelvis/1PA00{n}/{k}.nii.gz" for n in (2, 1) for k in ("mr", "ct")))
    touch(tmp_path, "Task1/pelvis/1PA001/mask.nii.gz", "Task1/pelvis/overview/1PA001.png")
    first, second = find_cases("synthrad2023", tmp_path / start, Patterns())
    assert (first.id, second.id) == ("1PA001", "1PA002")
    folder = tmp_path / "Task1/pelvis/1PA001"
    assert (first.mr, first.ct) == (folder / "mr.nii.gz", folder / "ct.nii.gz")
    assert first.mask == folder / "mask.nii.gz" and second.mask is None


def test_pairs_in_one_folder_or_one_folder_a_patient(tmp_path):
    touch(tmp_path / "one", "mr_T2.nii.gz", "ct.nii.gz", "ct_in_T2.nii.gz")
    (case,) = find_cases("pairs", tmp_path / "one", Patterns("mr_T2.nii.gz", "ct_in_T2.nii.gz"))
    assert (case.id, case.ct.name) == ("one", "ct_in_T2.nii.gz")
    touch(tmp_path / "many", "b/mr.nii", "b/ct.nii", "a/mr1.nii.gz", "a/ct.nii.gz", "notes/x.txt")
    assert [case.id for case in find_cases("pairs", tmp_path / "many", Patterns())] == ["a", "b"]


def test_pairs_are_nifti_metaimage_and_dicom_mixed(tmp_path):
    """Names of other kinds (a picture, a note, MetaImage's raw part) do not count as volumes."""
    write_series(tmp_path / "p1" / "mr_dicom", voxels())
    hu = voxels(seed=1).astype(np.float32)
    image = sitk.GetImageFromArray(hu.T)
    image.SetSpacing(SPACING), image.SetOrigin(ORIGIN)
    sitk.WriteImage(image, tmp_path / "p1" / "ct.mhd")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.diag([*SPACING, 1.0])
    affine[:3, 3] = np.array([-1, -1, 1]) * ORIGIN
    save(tmp_path / "p1" / "body.nii.gz", (hu > 0).astype("u1"), affine)
    touch(tmp_path, "p1/ct.png", "p1/mr.txt")
    (case,) = find_cases("pairs", tmp_path, Patterns(mask="body*"))
    assert [p.name for p in (case.mr, case.ct, case.mask)] == ["mr_dicom", "ct.mhd", "body.nii.gz"]
    patient = case.read()
    np.testing.assert_array_equal(patient.mr.array, voxels())
    np.testing.assert_array_equal(patient.ct.array, hu)
    assert same_grid(patient.mr, patient.ct) and same_grid(patient.mr, patient.mask)
    before = case.stamp()
    (tmp_path / "p1" / "mr_dicom" / "IM003.dcm").touch()
    assert case.stamp() != before


@pytest.mark.parametrize("place", ["", "anna"])
def test_the_slices_of_one_series_in_a_flat_folder_are_one_volume(tmp_path, place):
    mr, hu = voxels() + 1000, voxels(seed=1)
    folder = write_series(tmp_path / place, mr, prefix="MR")
    write_series(folder, hu, modality="CT", number=2, prefix="CT")
    (case,) = find_cases("pairs", tmp_path, Patterns("MR*.dcm", "CT*.dcm"))
    patient = case.read()
    np.testing.assert_array_equal(patient.mr.array, mr)
    np.testing.assert_array_equal(patient.ct.array, hu)
    assert (case.mr.name, case.ct.name) == ("MR001.dcm", "CT001.dcm")
    write_series(folder, mr, number=3, prefix="MR_B")
    (case,) = find_cases("pairs", tmp_path, Patterns("MR*.dcm", "CT*.dcm"))
    with pytest.raises(InputError, match=r"2 series that match 'MR\*.dcm' \(t2 tse 1 \(MR, 7"):
        case.read()


def test_the_mr_of_a_mixed_series_is_chosen(tmp_path):
    write_series(tmp_path / "mr", voxels() + 1000, EchoTime=20, prefix="A")
    write_series(tmp_path / "mr", voxels() + 2000, EchoTime=100, prefix="B")
    write_series(tmp_path / "ct", voxels(), modality="CT", number=2)
    (case,) = find_cases("pairs", tmp_path, Patterns(choices=(("EchoTime", "100"),)))
    np.testing.assert_array_equal(case.read().mr.array, voxels() + 2000)
    (other,) = find_cases("pairs", tmp_path, Patterns(choices=(("EchoTime", "20"),)))
    assert other.stamp() != case.stamp()  # another choice prepares the patient again


def test_synthrad2025(tmp_path):
    names = (f"Task1/{region}/1{region}A001/{k}.mha" for region in ("AB", "TH") for k in KINDS)
    cases = find_cases(
        "synthrad2025", touch(tmp_path, *names, "Task1/AB/1ABA001/o.png"), Patterns()
    )
    assert [case.id for case in cases] == ["1ABA001", "1THA001"]
    folder = tmp_path / "Task1" / "AB" / "1ABA001"
    assert (cases[0].mr, cases[0].mask) == (folder / "mr.mha", folder / "mask.mha")


def test_linked_patients_are_found_and_loops_are_not_followed(tmp_path):
    touch(tmp_path / "disk", "1PA001/mr.nii.gz", "1PA001/ct.nii.gz")
    root = touch(tmp_path / "cohort", "Task1/1PA002/mr.nii.gz", "Task1/1PA002/ct.nii.gz")
    (root / "Task1" / "1PA001").symlink_to(tmp_path / "disk" / "1PA001")
    (root / "Task1" / "back").symlink_to(root)
    (root / "Task1" / ".1PA003").symlink_to(tmp_path / "disk" / "1PA001")
    cases = find_cases("synthrad2023", root, Patterns())
    assert [case.id for case in cases] == ["1PA001", "1PA002"]


def test_of_pairs_nothing_is_left_out_unsaid(tmp_path):
    """Hidden folders are none, folders of notes neither; lost or misnamed files are told of."""
    root = touch(tmp_path, *(f"{p}/{k}.nii" for p in ("a", ".b") for k in ("mr", "ct")),
                 "c/T2.nii", "d/t2/IM0001", "notes/x.txt")  # fmt: skip
    (root / "e" / "deeper").mkdir(parents=True)
    cases = find_cases("pairs", root, Patterns())
    assert [case.id for case in cases] == ["a", "c", "d", "e"]
    for case in cases[1:]:
        with pytest.raises(InputError, match="holds no MR that matches 'mr\\*'"):
            case.read()


@pytest.mark.parametrize("source", ["pairs", "gold_atlas"])
def test_a_file_that_cannot_be_read_is_its_patients_affair(tmp_path, monkeypatch, source):
    """It may be an image: reading it tells."""
    for name in ("a", "b"):
        write_series(tmp_path / name / "mr", voxels() + 1000)
        write_series(tmp_path / name / "ct", voxels(), modality="CT", number=2)
    locked = (tmp_path / "a" / "mr" / "IM001.dcm").rename(tmp_path / "a" / "mr" / "locked.img")
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    first, second = find_cases(source, tmp_path, Patterns())
    assert (first.id, second.id) == ("a", "b") and second.stamp()
    with pytest.raises(InputError, match=r"locked\.img cannot be read: check its permissions"):
        first.read()


def test_patients_called_mr_are_no_mrs(tmp_path):
    """A folder that the MR's pattern matches at the root is one only if it holds a series."""
    root = touch(tmp_path / "a", *(f"mr0{n}/{k}.nii" for n in (1, 2) for k in ("mr", "ct")))
    assert [case.id for case in find_cases("pairs", root, Patterns())] == ["mr01", "mr02"]
    write_series(tmp_path / "b" / "mr", voxels())
    touch(tmp_path / "b", "ct.nii")
    (case,) = find_cases("pairs", tmp_path / "b", Patterns())
    assert (case.id, case.mr.name) == ("b", "mr")


def describe(root, **values) -> Path:
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(values))
    return root


NNUNET = {
    "label": ({"channel_names": {"0": "MRI"}}, "labelsTr/p_1.nii.gz", None),
    "version 1": ({"modality": {"0": "T2"}}, "labelsTr/p_1.nii.gz", None),
    "unnamed": ({"channel_names": {"0": "zscore"}}, "labelsTr/p_1.nii.gz", None),
    "channels": (
        {"channel_names": {"0": "CT", "1": "MR", "2": "body_mask"}, "file_ending": ".mha"},
        "imagesTr/p_1_0000.mha",
        "imagesTr/p_1_0002.mha",
    ),
}


@pytest.mark.parametrize("name", NNUNET)
def test_nnunet(tmp_path, name):
    description, ct, mask = NNUNET[name]
    ending = description.get("file_ending", ".nii.gz")
    number = 1 if name == "channels" else 0
    mr = f"imagesTr/p_1_{number:04d}{ending}"
    touch(describe(tmp_path / "d", **description), mr, ct, *[mask] * bool(mask))
    touch(tmp_path / "d", mr.replace("p_1", "._p_1"))  # what macOS leaves
    (case,) = find_cases("nnunet", tmp_path / "d", Patterns())
    assert case.id == "p_1" and case.mr == tmp_path / "d" / mr
    assert case.ct == tmp_path / "d" / ct and case.mask == (mask and tmp_path / "d" / mask)


def test_the_mr_channels_of_nnunet_are_contrasts(tmp_path):
    names = {"0": "MR_T2", "1": "MR T1", "2": "body"}
    files = [f"imagesTr/p_000{n}.nii.gz" for n in range(3)] + ["labelsTr/p.nii.gz"]
    touch(describe(tmp_path, channel_names=names), *files, "imagesTr/q_0000.nii.gz")
    touch(tmp_path, "labelsTr/q.nii.gz")
    case, other = find_cases("nnunet", tmp_path, Patterns())
    assert case.contrasts == ("MR_T2", "MR_T1") and case.mr == tmp_path / files[0]
    assert case.further == (tmp_path / files[1],) and case.mask == tmp_path / files[2]
    with pytest.raises(InputError, match="q has no MR_T1: add the file"):
        other.read()


def test_patterns_name_the_contrasts(tmp_path):
    touch(tmp_path, *(f"{p}/{k}.nii" for p in "ab" for k in ("t2_tse", "t1w", "ct")))
    (tmp_path / "b" / "t1w.nii").unlink()
    patterns = Patterns("t2*", "ct*", "", ("*t1*",))
    case, other = find_cases("pairs", tmp_path, patterns)
    assert case.contrasts == ("t2", "t1") and case.further == (tmp_path / "a" / "t1w.nii",)
    with pytest.raises(InputError, match=r"b holds no MR that matches '\*t1\*'"):
        other.read()
    with pytest.raises(InputError, match="begin with different words"):
        find_cases("pairs", tmp_path, Patterns("t2*", "ct*", "", ("t2_[t]*", "t2*")))


@pytest.mark.parametrize(
    ("further", "both"),
    [(("*t2_tse*",), "t2 and t2_tse"), (("ct.*",), "CT and ct"), (("t1*", "t1w*"), "t1 and t1w")],
)
def test_a_file_is_no_two_contrasts(tmp_path, further, both):
    touch(tmp_path, *(f"a/{k}.nii" for k in ("t2_tse", "t1w", "ct")))
    (case,) = find_cases("pairs", tmp_path, Patterns("t2*", "ct*", "", further))
    with pytest.raises(InputError, match=f"patterns of both {both}: fix"):
        case.read()


NO_NNUNET = {
    "no description": ({}, "dataset.json does not exist"),
    "two CTs": ({"channel_names": {"0": "CT", "1": "sCT"}}, "2 channels have the name of a CT"),
    "no MR": ({"channel_names": {"0": "CBCT", "1": "CT"}}, "no channel has the name MR"),
    "no numbers": ({"channel_names": {"MR": 0}}, "must have numbers as keys"),
    "no table": ({"channel_names": ["MR"]}, "the channels are not a JSON object such as"),
    "same names": (
        {"channel_names": {"0": "MR T1", "1": "MR_T1", "2": "CT"}},
        "two MR channels have the same name",
    ),
    "no images": ({"channel_names": {"0": "MR"}, "file_ending": ".mha"}, r"holds no X_0000\.mha"),
}


@pytest.mark.parametrize("name", NO_NNUNET)
def test_an_unclear_nnunet_folder_is_refused(tmp_path, name):
    description, sentence = NO_NNUNET[name]
    touch(tmp_path, "imagesTr/p_0000.nii.gz")
    if description:
        describe(tmp_path, **description)
    with pytest.raises(InputError, match=sentence):
        find_cases("nnunet", tmp_path, Patterns())


BAD = {
    "no source": (("a/mr.nii",), "ct", Patterns(), "source 'ct' is unknown"),
    "no files": (("a/x.txt",), "pairs", Patterns(), "holds no patients"),
    "no folders": (("a/x.txt",), "synthrad2023", Patterns(), "holds no patients"),
    "no mask": (("mr.nii", "ct.nii"), "pairs", Patterns(mask="body*"), "no mask that matches"),
    "absolute": (("mr.nii",), "pairs", Patterns("/mr.nii"), "relative glob"),
    "same name": (
        tuple(f"{site}/p1/{k}.nii.gz" for site in "AB" for k in ("mr", "ct")),
        "synthrad2023",
        Patterns(),
        "same name",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_unclear_folders_are_refused(tmp_path, case):
    names, source, patterns, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        find_cases(source, touch(tmp_path, *names), patterns)


UNUSABLE = {
    "two CTs": (
        ("mr.nii", "ct.nii", "ct_2.nii"),
        "pairs",
        Patterns(),
        r"ct\.nii, ct_2\.nii all match 'ct\*'",
    ),
    "no CT": (("a/mr.nii", "b/mr.nii", "b/ct.nii"), "pairs", Patterns(), "/a holds no CT"),
    "no MR": (("1PA1/ct.nii.gz",), "synthrad2023", Patterns(), "1PA1 holds no MR"),
    "one file twice": (
        ("mr.nii",),
        "pairs",
        Patterns("*.nii", "*.nii"),
        "patterns of both MR and CT",
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_unclear_patient_says_so_when_read(tmp_path, case):
    names, source, patterns, sentence = UNUSABLE[case]
    first, *others = find_cases(source, touch(tmp_path, *names), patterns)
    with pytest.raises(InputError, match=sentence):
        first.read()
    assert all(isinstance(other, Case) for other in others)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        find_cases("pairs", tmp_path / "absent", Patterns())


def test_phantoms_are_generated_once_and_found(tmp_path):
    geometry = {"shape": (24, 20, 4), "spacing": (16.0, 16.0, 20.0)}
    cases = phantom_cases(tmp_path / "cohort", 2, 5, **geometry)
    assert len(cases) == 2
    mr, mask = read_volume(cases[0].mr, "a.u."), read_volume(cases[0].mask, "mask")
    assert same_grid(mr, read_volume(cases[0].ct, "HU")) and same_grid(mr, mask)
    written = cases[0].mr.stat().st_mtime_ns
    assert phantom_cases(tmp_path / "cohort", 1, 5, **geometry) == cases[:1]
    assert cases[0].mr.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="holds another"):
        phantom_cases(tmp_path / "cohort", 2, 6, **geometry)
