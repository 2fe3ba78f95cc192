"""DICOM headers of MRs that were acquired otherwise than those of the training."""

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from sde_ct.data import acquisition
from sde_ct.volumes.dicom.series import open_series

from ..volumes.dicom_series import edit, write_series

T2 = {
    "EchoTime": 96, "RepetitionTime": 4500, "ScanningSequence": "SE", "ScanOptions": "",
    "Manufacturer": "SIEMENS", "MagneticFieldStrength": 1.5, "PixelBandwidth": 200,
}  # fmt: skip


@pytest.fixture
def facts(tmp_path):
    """A function that reads the facts from the header of a T2 with other tags."""

    def read(**tags):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_series(folder, np.zeros((4, 4, 3), np.int16), **T2 | tags)
        return acquisition.facts(open_series(folder))

    return read


@pytest.fixture
def seen(facts):
    """What a checkpoint says of two training patients and one with an unknown acquisition."""
    return {"acquisition": acquisition.summary([facts(), facts(PixelBandwidth=250), {}])}


def test_the_training_is_summed_up_and_its_like_gets_no_warning(facts, seen):
    assert seen["acquisition"] == {
        "weighting": ["T2"], "fat_suppression": [False], "agent": [False],
        "manufacturer": ["SIEMENS"], "field": [1.5], "bandwidth": [200.0, 250.0],
    }  # fmt: skip
    like = facts(
        Manufacturer="Siemens Healthineers", MagneticFieldStrength=1.494, PixelBandwidth=499
    )
    assert acquisition.warnings(seen, like) == []


CATEGORY = "According to its header, this MR is {}; the network was trained on MRs that are {}."
AGENT, FAT = "acquired with{} a contrast agent", "acquired with{} fat suppression"
GADOLINIUM = Dataset()
GADOLINIUM.CodeMeaning = "Gadolinium"
SENTENCES = [
    ({"EchoTime": 10, "RepetitionTime": 600}, CATEGORY.format("T1-weighted", "T2-weighted")),
    ({"ScanOptions": ["SP", "FS"]}, CATEGORY.format(FAT.format(""), FAT.format("out"))),
    ({"SeriesDescription": "t2 FatSat"}, CATEGORY.format(FAT.format(""), FAT.format("out"))),
    ({"SequenceName": "tse_fat_sup"}, CATEGORY.format(FAT.format(""), FAT.format("out"))),
    (
        {"SpectrallySelectedSuppression": "FAT"},  # of enhanced MR
        CATEGORY.format(FAT.format(""), FAT.format("out")),
    ),
    (
        {"ContrastBolusAgentSequence": [GADOLINIUM]},
        CATEGORY.format(AGENT.format(""), AGENT.format("out")),
    ),
    ({"ContrastBolusAgent": "Dotarem"}, CATEGORY.format(AGENT.format(""), AGENT.format("out"))),
    (
        {"Manufacturer": "Philips Healthcare"},
        CATEGORY.format("acquired on a scanner by PHILIPS", "acquired on a scanner by SIEMENS"),
    ),
    (
        {"MagneticFieldStrength": 3},
        "The field strength is 3 T; the network was trained on 1.5 T.",
    ),
    (
        {"PixelBandwidth": 99},
        "The bandwidth is 99 Hz per pixel; the network was trained on 200 to 250 Hz per pixel. "
        "Geometric distortion and noise may differ.",
    ),
    (
        {"PixelBandwidth": 501},
        "The bandwidth is 501 Hz per pixel; the network was trained on 200 to 250 Hz per pixel. "
        "Geometric distortion and noise may differ.",
    ),
]


@pytest.mark.parametrize(("tags", "sentence"), SENTENCES)
def test_each_difference_gets_its_sentence(facts, seen, tags, sentence):
    assert acquisition.warnings(seen, facts(**tags)) == [sentence]


def test_a_field_between_those_of_the_training_is_compared_with_the_nearest(facts):
    both = [facts(), facts(MagneticFieldStrength=3)]
    seen = {"acquisition": acquisition.summary(both)}
    (sentence,) = acquisition.warnings(seen, facts(MagneticFieldStrength=2.2))
    assert sentence == "The field strength is 2.2 T; the network was trained on 1.5 or 3 T."


@pytest.mark.parametrize("text", ["t2 non-fatsat", "no fat sat", "t2 without fat sup", "dixon fat"])
def test_fat_that_is_only_named_is_not_suppressed(facts, text):
    assert facts(SeriesDescription=text)["fat_suppression"] is False


def test_unknown_values_and_older_checkpoints_are_not_judged(facts, seen):
    other = facts(Manufacturer="GE", MagneticFieldStrength=3, EchoTime=9, RepetitionTime=500)
    for older in (None, {"positions": ["HFS"]}, {"acquisition": {}}):
        assert acquisition.warnings(older, other) == []
    stripped = facts(**dict.fromkeys(T2, ""))
    assert set(stripped) == {"fat_suppression"}  # Scan Options may be empty
    # The times of an inversion recovery, and those between T1 and T2, tell no weighting.
    assert "weighting" not in facts(ScanningSequence=["SE", "IR"])
    assert "weighting" not in facts(EchoTime=40)
    assert acquisition.warnings(seen, {}) == []


def test_without_the_tags_nothing_is_known(tmp_path):
    folder = write_series(tmp_path / "mr", np.zeros((4, 4, 3), np.int16))
    assert acquisition.facts(open_series(folder)) == {}


def test_damaged_values_are_unknown(tmp_path):
    folder = write_series(tmp_path / "mr", np.zeros((4, 4, 3), np.int16), PixelBandwidth=21.75)
    assert acquisition.facts(open_series(folder)) == {"bandwidth": 21.75}
    for file in folder.iterdir():
        data = file.read_bytes()
        assert data.count(b"21.75") == 1
        file.write_bytes(data.replace(b"21.75", b"2x.75"))
    assert acquisition.facts(open_series(folder)) == {}


@pytest.mark.parametrize(
    ("keyword", "fact"), [("ScanOptions", "fat_suppression"), ("ContrastBolusAgent", "agent")]
)
def test_a_damaged_tag_does_not_say_no(tmp_path, keyword, fact):
    series = open_series(write_series(tmp_path / "mr", np.zeros((4, 4, 3), np.int16), **T2))
    assert acquisition.facts(series)[fact] is False
    tag = Tag(keyword)
    series.header._dict[tag] = RawDataElement(tag, "FD", 3, b"abc", 0, False, True)
    assert fact not in acquisition.facts(series)


def test_a_manufacturer_that_names_the_patient_is_left_out(tmp_path):
    folder = write_series(tmp_path / "mr", np.zeros((4, 4, 3), np.int16), **T2)
    for file in folder.iterdir():
        edit(file, PatientName="Siemens^Anna")
    found = acquisition.facts(open_series(folder))
    assert "manufacturer" not in found and found["field"] == 1.5
