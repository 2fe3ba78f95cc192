#!/usr/bin/env bash
# DICOM lets every slice have its own RescaleSlope, as derived maps and some MR have. ITK's series reader applies
# each one, but takes the type of the volume's voxels from the first slice. Where that slice has slope 1, the
# volume holds integers, and the fractions of all other slices are cut off, not rounded. The same files with
# another slice first are read as float64 and rightly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 SimpleITK==2.5.2 numpy==2.2.6
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

print(f"pydicom {pydicom.__version__}, SimpleITK {sitk.Version_VersionString()}, numpy {np.__version__}")
STORED = 1999


def read(name, slopes):
    """A value of each slice of a series whose stored values are all the same, and the volume's type."""
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k, slope in enumerate(slopes):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID, image.Modality = MRImageStorage, generate_uid(), "MR"
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.InstanceNumber, image.ImagePositionPatient = k + 1, [0, 0, 3 * k]
        image.ImageOrientationPatient, image.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
        image.SliceThickness, image.Rows, image.Columns = 3, 8, 8
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, 0, "US"
        image.PixelData = np.full((8, 8), STORED, np.uint16).tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    volume = reader.Execute()
    return sitk.GetArrayFromImage(volume)[:, 0, 0], volume.GetPixelIDTypeAsString()


one_first, kind = read("one_first", (1, 0.01, 0.001))
one_last, other = read("one_last", (0.001, 0.01, 1))
print(f"Slopes 1, 0.01, 0.001: {one_first} as {kind}.")
print(f"Slopes 0.001, 0.01, 1: {one_last} as {other}.")
print(f"Expected in both: {STORED * np.array((1, 0.01, 0.001))}, in one order or the other.")
cut = one_first.tolist() == [1999, 19, 1] and "integer" in kind
sys.exit(0 if cut and np.allclose(one_last, [1.999, 19.99, 1999]) else 1)
PYTHON
