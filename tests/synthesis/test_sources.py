"""Which volumes a user names, and what they are called."""

import os

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.synthesis.sources import (
    Source,
    case_name,
    find_mask,
    find_sources,
    require_outside,
)  # fmt: skip

from ..volumes.dicom_series import write_series


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Four layouts below the current folder; the files of images are never opened here."""
    for name in [
        *("flat/anna.nii.gz", "flat/bert.mha", "flat/.partial-carl.nii.gz", "flat/notes.txt"),
        *("synthrad/1PA001/mr.nii.gz", "synthrad/1PA001/ct.nii.gz", "synthrad/1PA002/mr.mha"),
        "text/readme.txt",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    voxels = np.zeros((3, 4, 2), np.int16)
    for patient in ("p1", "p2"):
        for series in ("T2", "CT"):
            folder = tmp_path / "dicom" / patient / series
            write_series(folder, voxels, modality="CT" if series == "CT" else "MR")
    (tmp_path / "dicom" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "dicom" / "p1" / "back").symlink_to(tmp_path / "dicom")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FOUND = {
    "a file": (["flat/bert.mha"], {"flat/bert.mha": "bert"}),
    "files, one twice": (
        ["flat/bert.mha", "flat/anna.nii.gz", "./flat/bert.mha"],
        {"flat/bert.mha": "bert", "flat/anna.nii.gz": "anna"},
    ),
    "a folder of files": (["flat"], {"flat/anna.nii.gz": "anna", "flat/bert.mha": "bert"}),
    "slices by pattern": (["dicom/p1/T2/*.dcm"], {"dicom/p1/T2/IM001.dcm": "T2"}),
    "a slice and its series by pattern": (
        ["dicom/p1/T2/IM002.dcm", "dicom/p1/T*/*"],
        {"dicom/p1/T2/IM002.dcm": "T2"},
    ),
    "a pattern": (["fl*/*.nii.gz"], {"flat/anna.nii.gz": "anna"}),
    "SynthRAD's folder": (
        ["synthrad"],
        {"synthrad/1PA001/mr.nii.gz": "1PA001", "synthrad/1PA002/mr.mha": "1PA002"},
    ),
    "a patient of SynthRAD": (["synthrad/1PA001"], {"synthrad/1PA001/mr.nii.gz": "1PA001"}),
    "a series": (["dicom/p1/T2"], {"dicom/p1/T2": "T2"}),
    "a slice": (["dicom/p1/T2/IM002.dcm"], {"dicom/p1/T2/IM002.dcm": "T2"}),
    "patients": (["dicom"], {"dicom/p1/T2": "p1_T2", "dicom/p2/T2": "p2_T2"}),
    "a patient": (["dicom/p2"], {"dicom/p2/T2": "T2"}),
    "series by pattern": (["dicom/*/T2"], {"dicom/p1/T2": "p1_T2", "dicom/p2/T2": "p2_T2"}),
    "patients by pattern": (["dicom/p2*"], {"dicom/p2/T2": "p2_T2"}),
    "two kinds": (["flat/bert.mha", "dicom/p2"], {"flat/bert.mha": "bert", "dicom/p2/T2": "T2"}),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_what_is_named_is_found(case, place):
    arguments, expected = FOUND[case]
    found = find_sources(arguments)
    assert {str(s.path.relative_to(place)): s.name for s in found} == expected
    assert list(expected) == [str(s.path.relative_to(place)) for s in found]


REFUSED = {
    "empty": ([""], "--mr is empty: give a file, a folder or a pattern"),
    "missing": (["nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
    "no match": (["flat/*.dcm"], "flat/.* matches no file or folder"),
    "no match above": (["flat/no*/../none.nii"], "none.nii matches no file or folder"),
    "nothing in it": (["text"], "text holds no MR"),
    "one name": (["synthrad", "synthrad/1PA001/mr.nii.gz", "one/1PA001.nii"], "both be .* 1PA001"),
    "two series in a folder": (["two/*.dcm"], r"two/A001.dcm and .*two/B001.dcm would both"),
    "one name by pattern": (["dicom/p1/T2", "dicom/p2/T2"], "p1/T2 and .*p2/T2 would both"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_there_or_has_one_name_is_refused(case, place):
    arguments, sentence = REFUSED[case]
    (place / "one").mkdir()
    (place / "one" / "1PA001.nii").touch()
    for number, prefix in enumerate("AB", start=1):
        write_series(place / "two", np.zeros((3, 4, 2), np.int16), number=number, prefix=prefix)
    with pytest.raises(InputError, match=sentence) as error:
        find_sources(arguments)
    assert "\n" not in str(error.value)


def test_an_output_in_the_folder_of_a_dicom_file_is_refused(place):
    file = next((place / "dicom" / "p1" / "T2").iterdir())
    for output in (file.parent, file.parent / "out"):
        with pytest.raises(InputError, match="T2, whose files are read as MRs: give an output"):
            require_outside([str(file)], output)
    require_outside([str(file)], file.parent.parent / "out")
    require_outside(["flat/anna.nii.gz"], place / "flat")


def test_a_folder_of_damaged_slices_is_read_to_tell_so(place):
    """It may be the MR wanted: passing it over would be silent."""
    for slice_ in (place / "dicom" / "p1" / "T2").iterdir():
        slice_.write_bytes(slice_.read_bytes()[:200])
    assert [s.name for s in find_sources(["dicom"])] == ["p1_T2", "p2_T2"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_of_unreadable_slices_too(place):
    for slice_ in (place / "dicom" / "p1" / "T2").iterdir():
        slice_.rename(slice_.with_suffix("")).chmod(0)
    assert [s.name for s in find_sources(["dicom"])] == ["p1_T2", "p2_T2"]


def test_a_case_is_named_by_its_file_or_by_its_folder(tmp_path):
    for suffix in ("nii", "nii.gz", "NII.GZ", "mha", "mhd"):
        assert case_name(tmp_path / f"knee.{suffix}") == "knee"
        assert case_name(tmp_path / "1PA001" / f"mr.{suffix}") == "1PA001"
    assert case_name(tmp_path / "a.b.nii") == "a.b"


def test_the_mask_of_a_volume(place):
    source = Source(place / "flat" / "anna.nii.gz", "anna")
    assert find_mask(source.path, source) == source.path
    assert find_mask(place / "flat", source) == source.path
    assert find_mask(place / "dicom" / "p1" / "T2", source) == place / "dicom" / "p1" / "T2"
    with pytest.raises(InputError, match=r"synthrad/1PA001 holds 0 masks called anna.*anna.nii.gz"):
        find_mask(place / "synthrad" / "1PA001", source)
