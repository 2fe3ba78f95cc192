"""250 times the middle slice of a series is damaged, plain and again compressed."""

import pydicom
import pytest
from pydicom.uid import RLELossless

from ..dicom_series import voxels, write_series
from ..fuzz import MUTATIONS, count_refused


@pytest.mark.parametrize("compressed", [False, True])
def test_changed_bytes_are_refused_or_read(tmp_path, compressed):
    folder = write_series(tmp_path / "t2", voxels((6, 5, 3)) + 1000)
    file = folder / "IM002.dcm"
    if compressed:
        image = pydicom.dcmread(file)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(file)
    refused = count_refused(file, folder, "a.u.", head=len(file.read_bytes()))
    # Most bytes are names, dates and voxels, which any value suits.
    assert MUTATIONS // 4 < refused < MUTATIONS
