"""Finding patients in folders."""

from pathlib import Path

import pytest

from sde_ct.data.cohorts import Patterns, find_cases, phantom_cases
from sde_ct.data.files import read_volume
from sde_ct.data.volume import same_grid
from sde_ct.errors import InputError


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


BAD = {
    "no source": (("a/mr.nii",), "ct", Patterns(), "source 'ct' is unknown"),
    "no files": (("a/x.txt",), "pairs", Patterns(), "holds no patients"),
    "no folders": (("a/x.txt",), "synthrad2023", Patterns(), "holds no patients"),
    "two CTs": (
        ("mr.nii", "ct.nii", "ct_2.nii"),
        "pairs",
        Patterns(),
        r"ct\.nii, ct_2\.nii all match 'ct\*\.nii\*'",
    ),
    "no CT": (("a/mr.nii", "b/mr.nii", "b/ct.nii"), "pairs", Patterns(), "/a holds no CT"),
    "no MR": (("1PA1/ct.nii.gz",), "synthrad2023", Patterns(), "1PA1 holds no MR"),
    "no mask": (("mr.nii", "ct.nii"), "pairs", Patterns(mask="body*"), "no mask that matches"),
    "one file twice": (("mr.nii",), "pairs", Patterns("*.nii", "*.nii"), "as MR and as CT"),
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
