"""Folders of DICOM files: every fault is found, also where there are several."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from sde_ct.doctor.check_dicom import survey

from ..programs import call
from ..volumes.dicom import test_series as broken
from ..volumes.dicom_series import edit, write_series

MR = broken.MR


def said(folder) -> str:
    return " | ".join(f"{f.severity}: {f.what}" for f in survey(folder).findings)


def lossy(folder):
    for path in folder.iterdir():
        edit(path, LossyImageCompression="01")


def burnt(folder):
    edit(folder / "IM003.dcm", BurnedInAnnotation="YES")


FAULTS = {
    "missing": (broken.BAD["missing"][0], "lacks a slice"),
    "gantry tilt": (broken.tilt, "gantry tilt of 9.5 degrees"),
    "multi-frame": (
        broken.BAD["multi-frame"][0],
        "1 file: is a multi-frame image (4 frames)",
    ),
    "compressed": (broken.BAD["compressed"][0], "1 file: is compressed as MPEG2 Main Profile"),
    "series": (broken.BAD["two series"][0], "2 series mixed in one folder (7 MR, 7 MR)"),
    "patients": (broken.BAD["two patients"][0], "images of 2 patients"),
    "twice": (broken.BAD["copied twice"][0], "1 duplicated slice "),
    "damaged": (broken.BAD["zero bytes"][0], "1 file: is damaged or not DICOM"),
    "colour": (broken.colour, "1 file: holds RGB pixels"),
    "loss": (lossy, "warning: 7 files: images were compressed with loss"),
    "burnt in": (burnt, "warning: 1 file: text is burnt into the pixels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault, tmp_path):
    spoil, sentence = FAULTS[fault]
    folder = write_series(tmp_path / "t2", MR)
    spoil(folder)
    found = said(folder)
    assert sentence in found and "Doe" not in found and "J-17" not in found


def test_a_sound_series_is_healthy_and_its_patient_known(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    found = survey(folder)
    assert found.is_volume and not found.findings and found.files == MR.shape[2]
    assert found.secrets == {"doe", "jane", "j-17", "19600102"}


@pytest.mark.parametrize("keyword", broken.UIDS)
def test_uids_of_their_own_are_warned_of_in_a_whole_sentence(tmp_path, keyword):
    folder = write_series(tmp_path / "t2", MR)
    broken.own_uids(folder, keyword)
    for path in (folder, folder / "IM003.dcm"):
        found = survey(path)
        (finding,) = found.findings
        assert found.is_volume and finding.severity == "warning" and found.files == 7
        assert finding.what.startswith(f"each of its 7 files has a {keyword} of its own")
        assert finding.what.endswith("as some anonymisers write")
        assert finding.fix == "check that all of them belong to one series"


def test_compression_that_can_be_read_is_no_fault(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(path)
    assert not said(folder)


def test_a_multi_frame_file_is_one_file_of_its_series(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    FAULTS["multi-frame"][0](folder)
    done = call("doctor", folder / "IM004.dcm", "--nocost")
    text = " ".join(done.out.split())
    assert done.status == 1 and "IM004.dcm: DICOM, 7 files, MR" in text
    assert text.count("multi-frame image (4 frames)") == 1 and "more:" not in text
    assert "error t2 lacks a slice" in text and str(tmp_path) not in text
    for path in folder.iterdir():
        if path.name != "IM004.dcm":
            path.unlink()
    for path in (folder, folder / "IM004.dcm"):
        out = call("doctor", path, "--nocost").out
        assert f"{path.name}: DICOM, 1 file, MR\n" in out and "multi-frame" in out


def test_several_faults_are_all_told(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    write_series(folder, np.flip(MR, 2), number=2, prefix="B")
    (folder / "IM004.dcm").unlink()
    (folder / "B002.dcm").write_bytes(b"")
    burnt(folder)
    found = said(folder)
    for part in ("lacks a slice", "damaged", "2 series", "burnt"):
        assert part in found
