"""Names in texts: found as whole words, in all scripts, and nothing else taken out."""

import unicodedata

import pytest
from pydicom.dataset import Dataset

from sde_ct.volumes.dicom.patient_names import mentions, secrets_of, withhold


def header(name="", number="", **tags):
    data = Dataset()
    data.PatientName, data.PatientID = name, number
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


SECRETS = {
    "parts": (header("Doe^Jane^^Mrs", "J-17"), {"doe", "jane", "j-17"}),
    "hyphens": (header("Meyer-Schmidt^Anne-Marie"), {"meyer", "schmidt", "anne", "marie"}),
    "short": (header("Li^Wu", "12"), {"li", "wu"}),
    "initials": (header("D^J", "100"), set()),
    "one letter": (header("Doe", "A"), {"doe"}),
    "scripts": (header("Yamada^Tarou=山田^太郎"), {"yamada", "tarou", "山田", "太郎"}),
    "figures": (header("Test 000123", "8775070"), {"test", "000123", "8775070"}),
    "birthday": (header("Anonymous", PatientBirthDate="19600102"), {"19600102"}),
    "nobody": (header("Unknown", "CT"), set()),
}


@pytest.mark.parametrize("name", SECRETS)
def test_what_names_a_patient(name):
    data, expected = SECRETS[name]
    assert secrets_of(data) == expected


TEXTS = {
    "file": ("/d/DOE_JANE_MR1.dcm", {"doe", "jane"}, "/d/[name]_[name]_MR1.dcm"),
    "in words": ("the scanner of another", {"ann", "the", "no"}, "[name] scanner of another"),
    "sizes": ("64 x 100 x 80 voxels of J-17", {"j-17"}, "64 x 100 x 80 voxels of [name]"),
    "longer numbers": ("8775070 and 18775070", {"8775070"}, "[name] and 18775070"),
    "no spaces": ("t2 山田様", {"山田"}, "t2 [name]様"),
    "folder": ("1_01_P of Doe, 1_01_PX", {"1_01_p", "doe"}, "1_01_P of [name], 1_01_PX"),
    "decomposed": (unicodedata.normalize("NFD", "Müller t2"), {"müller"}, "[name] t2"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_only_names_are_withheld(name):
    text, secrets, expected = TEXTS[name]
    assert withhold(text, secrets, keep="1_01_P") == expected
    assert mentions(text, secrets) and not mentions(expected, secrets - {"1_01_p"})
