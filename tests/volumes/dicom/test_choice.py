"""Series that hold several volumes: one is chosen by tags, and the choice is listed."""

import shlex

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.choice import parse_choices
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.files import open_source, read_volume

from ..dicom_series import ACQUISITIONS, voxels, write_series

MR = voxels() + 1000
PARTS = {"W": MR, "F": MR + 1, "IP": MR + 2}


def write_parts(folder, parts):
    """Volumes in one place and one series; each has its tags."""
    for n, (array, tags) in enumerate(parts):
        write_series(folder, array, prefix=f"P{n}_", **tags)
    return folder


@pytest.fixture
def dixon(tmp_path):
    parts = [(a, {"ImageType": ["DERIVED", "PRIMARY", "DIXON", k]}) for k, a in PARTS.items()]
    return write_parts(tmp_path / "dixon", parts)


@pytest.fixture
def echoes(tmp_path):
    """Magnitude and phase of two echoes: only both tags together name a volume."""
    parts = [
        (MR + n, {"EchoTime": te, "ImageType": ["ORIGINAL", "PRIMARY", kind]})
        for n, (te, kind) in enumerate([(20.5, "M"), (20.5, "P"), (100, "M"), (100, "P")])
    ]
    return write_parts(tmp_path / "echoes", parts)


def read(path, *choices):
    return read_volume(open_series(path, parse_choices(choices)), "a.u.").array


def test_a_part_of_a_dixon_series_is_chosen_by_one_value_of_a_tag(dixon):
    for kind, array in PARTS.items():
        np.testing.assert_array_equal(read(dixon, f"ImageType={kind}"), array)
    whole = r"ImageType=derived\PRIMARY\DIXON\F"
    np.testing.assert_array_equal(read(dixon / "P0_001.dcm", whole), PARTS["F"])


def test_echoes_are_chosen_by_numbers_and_choices_add_up(echoes):
    np.testing.assert_array_equal(read(echoes, "EchoTime=20.50", "ImageType=P"), MR + 1)
    np.testing.assert_array_equal(read(echoes, "EchoTime=100", "ImageType=M"), MR + 2)


def test_a_series_is_chosen_in_a_folder_of_several(tmp_path):
    folder = write_series(tmp_path / "all", MR, prefix="A")
    write_series(folder, MR // 2, number=2, prefix="B")
    np.testing.assert_array_equal(read(folder, "SeriesDescription=t2 tse 2"), MR // 2)


def test_what_there_is_to_choose_from_is_listed(dixon, echoes, tmp_path):
    with pytest.raises(InputError) as error:
        read(dixon)
    assert r"3 volumes in one series, ImageType=DERIVED\PRIMARY\DIXON\W (7 images)" in str(
        error.value
    )
    assert r": choose one, such as --choose='ImageType=DERIVED\PRIMARY\DIXON\W'" in str(error.value)
    with pytest.raises(InputError) as error:
        read(echoes)
    sentence = str(error.value)
    assert r"EchoTime=20.5 and ImageType=ORIGINAL\PRIMARY\P (7 images)" in sentence
    assert "holds 4 volumes" in sentence and "--choose='EchoTime=20.5' --choose=" in sentence
    with pytest.raises(InputError, match=r"holds 2 volumes in one series, ImageType="):
        read(echoes, "EchoTime=100")


def test_a_value_that_holds_the_word_and_is_one_choice(tmp_path):
    names = ("head and neck", "pelvis")
    folder = write_parts(tmp_path / "t2", [(MR, {"ProtocolName": name}) for name in names])
    with pytest.raises(InputError, match=r"such as --choose='ProtocolName=head and neck'$"):
        read(folder)


def test_a_suggested_choice_can_be_pasted_into_a_shell(tmp_path):
    names = ("O'Brien", "pelvis")
    folder = write_parts(tmp_path / "t2", [(MR, {"ProtocolName": name}) for name in names])
    with pytest.raises(InputError) as error:
        read(folder)
    flag = str(error.value).partition("such as ")[2]
    assert shlex.split(flag) == ["--choose=ProtocolName=O'Brien"]


def test_patients_are_not_listed(tmp_path):
    folder = write_parts(
        tmp_path / "t2", [(MR, {"PatientWeight": 70, "EchoTime": 9}), (MR, {"EchoTime": 10})]
    )
    with pytest.raises(InputError, match="EchoTime=10") as error:
        read(folder)
    assert "Patient" not in str(error.value)


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "OperatorsName"])
def test_names_are_not_listed_even_if_chosen(tmp_path, keyword):
    folder = write_series(tmp_path / "t2", MR, **{keyword: "Muster"})
    with pytest.raises(InputError, match=f"no image with {keyword}=Doe: choose by") as error:
        read(folder, f"{keyword}=Doe")
    assert "Muster" not in str(error.value)


def test_a_localizer_in_the_series_is_left_out_by_choice(tmp_path):
    folder = write_series(tmp_path / "t2", MR, ProtocolName="T2")
    write_series(folder, MR, prefix="L", axes=ACQUISITIONS["sagittal"], ProtocolName="localizer")
    np.testing.assert_array_equal(read(folder, "ProtocolName=T2"), MR)
    with pytest.raises(InputError, match=r"ProtocolName=localizer \(7 images\)"):
        read(folder)


REFUSED = {
    "no value": (["EchoTime"], "--choose=EchoTime: write a DICOM keyword and its value"),
    "no tag": (["TE=100"], "--choose=TE=100: write a DICOM keyword"),
    "no such value": (
        ["EchoTime=90"],
        r"no image with EchoTime=90: choose one of 20.5 \(14 images\), 100.0 \(14 images\)",
    ),
    "no such tag in it": (["FlipAngle=9"], r"FlipAngle=9: choose one of none \(28 images\)"),
    "one choice too few": (["ImageType=M"], "2 volumes in one series, EchoTime=20.5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_choice_that_names_no_volume_is_refused(echoes, case):
    choices, sentence = REFUSED[case]
    with pytest.raises(InputError, match=sentence) as error:
        read(echoes, *choices)
    assert "\n" not in str(error.value)


def test_a_choice_is_of_dicom_alone(tmp_path):
    (tmp_path / "mr.nii.gz").touch()
    with pytest.raises(InputError, match="is not DICOM, but --choose selects by"):
        open_source(tmp_path / "mr.nii.gz", (("EchoTime", "100"),))
