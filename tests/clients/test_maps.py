"""The map of a spread goes through a PACS and is read back by highdicom."""

import highdicom
import numpy as np
import pydicom
import pytest

from sde_ct.volumes.dicom.contents import MAPS
from sde_ct.volumes.dicom.identity import identity_of
from sde_ct.volumes.dicom.parametric_map import write_map
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume

from ..volumes.dicom_series import ACQUISITIONS, ORIGIN, SPACING, voxels, write_series
from .clients import HU, MM, differences
from .orthanc import orthanc

pytestmark = pytest.mark.slow


def test_orthanc_returns_a_map_that_highdicom_reads(tmp_path):
    folder = write_series(tmp_path / "mr", voxels() + 1000, axes=ACQUISITIONS["oblique"])
    spread = np.abs(voxels()) / np.float32(7)  # no whole HU
    mr, identity = read_volume(folder, "a.u."), identity_of(open_series(folder))
    ct = write_ct_series(tmp_path / "sct", mr.with_array(voxels(), "HU"), identity)
    file = tmp_path / "map" / "sct_std.dcm"
    write_map(file, mr.with_array(spread, "HU"), identity, ct, MAPS["sct_std"])
    sent = pydicom.dcmread(file)
    with orthanc(tmp_path / "server") as server:
        server.store(file.parent)
        keys = (sent["StudyInstanceUID"], sent["SeriesInstanceUID"])
        (back,) = server.move(tmp_path / "back", *(f"{key.keyword}={key.value}" for key in keys))
    assert pydicom.dcmread(back) == sent
    volume = highdicom.imread(back).get_volume(apply_real_world_transform=True, dtype=np.float32)
    along, down = (np.array(v, float) for v in ACQUISITIONS["oblique"])
    place = np.eye(4)
    place[:3, :3] = np.stack([along, down, np.cross(along, down)], axis=1) * SPACING
    place[:3, 3] = ORIGIN
    values, apart = differences(volume.array, volume.affine, spread, place)
    print(
        f"highdicom {highdicom.__version__}: {values:g} HU and {apart:.1e} mm from what was written"
    )
    assert values <= HU and apart <= MM
