"""Volumes (voxels, their position in the patient and their unit) and the files that hold them.

The 4x4 affine of a volume turns a voxel index (i, j, k) into a position in millimetres: (x, y, z,
1) = affine @ (i, j, k, 1). Inside this package x runs to the patient's right, y to the front and z
to the head (RAS), as in NIfTI. DICOM and ITK use the opposite x and y (LPS). `lps.py` converts
between the two for readers, writers and registration. Arrays keep the axis order of their file.

A CT is in Hounsfield units (HU: water 0, air -1000), an MR in arbitrary units, a mask is 0 and 1.
`formats.py` is the one table of file formats. `files.py` reads them all, and writes all but DICOM.
`dicom/write.py` writes CTs as DICOM, and `dicom/parametric_map.py` writes other maps in HU.
"""
