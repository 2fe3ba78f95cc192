"""Deformable registration by elastix (S. Klein et al., IEEE Trans. Med. Imaging 29:196, 2010)."""

import tempfile
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.lps import itk_grid, swap_lps_ras
from sde_ct.volumes.volume import Volume

CONTROL_MM = 50.0  # distance between control points of the cubic B-spline at the last resolution
BENDING = 500.0  # weight of the bending energy relative to the mutual information
SETTINGS = {
    "Metric": ("AdvancedMattesMutualInformation", "TransformBendingEnergyPenalty"),
    "Metric0Weight": ("1",),
    "Metric1Weight": (f"{BENDING}",),
    "FinalGridSpacingInPhysicalUnits": (f"{CONTROL_MM}",),
    "GridSpacingSchedule": ("2", "1"),
    # Images are smoothed in plane and not downsampled, because many have few slices.
    "FixedImagePyramid": ("FixedSmoothingImagePyramid",),
    "MovingImagePyramid": ("MovingSmoothingImagePyramid",),
    "ImagePyramidSchedule": ("2", "2", "1", "1", "1", "1"),
    "ImageSampler": ("RandomCoordinate",),
    "NumberOfSpatialSamples": ("4000",),
    "MaximumNumberOfIterations": ("250",),
    "RandomSeed": ("1",),  # the same files give the same registration
    "ErodeMask": ("false",),
}


def deformation(
    mr: Volume, ct: Volume, around: Shaped[np.ndarray, "x y z"]
) -> Float[np.ndarray, "x y z 3"]:
    """The displacement, RAS mm, from every voxel of the MR to the same tissue in the CT.

    Args:
      mr, ct: nearly aligned volumes on one grid. Their intensities are compared as they are, so the
        caller clips the HU and the brightest voxels of the MR.
      around: mask of the region in which they are compared.

    Raises:
      InputError: itk-elastix is not installed, or elastix failed.
    """
    try:
        import itk
    except ImportError as error:
        raise InputError(
            "deformable registration needs itk-elastix: pip install '.[register]', or give "
            "--register=rigid"
        ) from error
    fixed, moving = (_image(itk, volume, np.float32) for volume in (mr, ct))
    mask = _image(itk, mr.with_array(around), np.uint8)
    settings = itk.ParameterObject.New()
    spline = settings.GetDefaultParameterMap("bspline", 2, CONTROL_MM)
    for name, values in SETTINGS.items():
        spline[name] = values
    settings.AddParameterMap(spline)
    try:
        _, found = itk.elastix_registration_method(
            fixed,
            moving,
            parameter_object=settings,
            fixed_mask=mask,
            number_of_threads=1,  # several patients are processed at once
            log_to_console=False,
        )
        # Without `output_directory`, elastix writes to the current folder.
        with tempfile.TemporaryDirectory() as folder:
            field = itk.transformix_deformation_field(
                moving, found, output_directory=folder, log_to_console=False
            )
            field.Update()
    except RuntimeError as error:
        raise InputError(
            "elastix could not register MR and CT: use another program, or give --register=rigid"
        ) from error
    ways = np.asarray(itk.array_from_image(field), np.float32).transpose(2, 1, 0, 3)
    return ways @ swap_lps_ras(np.eye(4))[:3, :3].astype(np.float32)


def _image(itk: Any, volume: Volume, dtype: type) -> Any:
    image = itk.image_from_array(np.ascontiguousarray(volume.array.T, dtype))
    grid = itk_grid(volume.affine)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(grid.direction)))
    return image
