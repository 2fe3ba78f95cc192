"""250 times the middle slice of a series is damaged, plain and again compressed."""

import pydicom
import pytest
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless, RLELossless

from ..dicom_series import voxels, write_series
from ..fuzz import MUTATIONS, count_refused
from .test_series import JPEG


@pytest.mark.parametrize("syntax", ["plain", RLELossless, JPEGLosslessSV1, JPEGLSLossless])
def test_changed_bytes_are_refused_or_read(tmp_path, syntax):
    folder = write_series(tmp_path / "t2", voxels((6, 5, 3)) + 1000)
    file = folder / "IM002.dcm"
    if syntax in JPEG:
        pytest.importorskip("libjpeg")
        JPEG[syntax](file)
    elif syntax == RLELossless:
        image = pydicom.dcmread(file)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(file)
    refused = count_refused(file, folder, "a.u.", head=len(file.read_bytes()))
    # Most bytes are names, dates and voxels, which any value suits.
    assert MUTATIONS // 4 < refused < MUTATIONS
