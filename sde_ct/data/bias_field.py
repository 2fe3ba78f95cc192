"""Correct an MR's bias field, the slow change of brightness that the coils cause."""

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.volume import Volume

WORKING_MM = 6.0  # voxel size for fitting the field; volumes of few voxels keep finer voxels
ITERATIONS = (50, 50, 50)  # one for each level; the control points become finer at each level
FEWEST = 4  # voxels along an axis; shorter axes, which N4 refuses or fits badly, are padded


def without_bias_field(mr: Volume, body: Volume) -> Volume:
    """The MR divided by its bias field, by N4 (Tustison et al., IEEE Trans. Med. Imaging 29:1310).

    The field is fitted to the voxels above 0 in the body, because N4 reads a 0 as a 1. Outside the
    body it is limited to its range inside the body. The same MR gives the same result.

    Args:
      mr: a.u., any orientation.
      body: mask on the grid of `mr`.

    Raises:
      InputError: N4 cannot fit a field to this volume.
    """
    import SimpleITK as sitk

    def image(array: np.ndarray, kind: type) -> sitk.Image:
        made = sitk.GetImageFromArray(np.ascontiguousarray(np.pad(array, more, "edge").T, kind))
        # N4 needs no position in the patient, and rounding in a header must not change its result.
        made.SetSpacing(np.round(mr.spacing, 3).tolist())
        return made

    more = [(0, max(0, FEWEST - n)) for n in mr.array.shape]
    inside = (body.array > 0) & (mr.array > 0)
    whole, mask = image(mr.array, np.float32), image(inside, np.uint8)
    shrink = [
        int(np.clip(round(WORKING_MM / step), 1, max(1, n // 16)))
        for step, n in zip(mr.spacing, mr.array.shape, strict=True)
    ]
    correct = sitk.N4BiasFieldCorrectionImageFilter()
    correct.SetNumberOfThreads(1)  # several patients are processed at once
    correct.SetMaximumNumberOfIterations(ITERATIONS)
    try:
        if not inside.any():
            raise RuntimeError("no voxel to fit")
        correct.Execute(sitk.Shrink(whole, shrink), sitk.Shrink(mask, shrink))
        field = sitk.GetArrayFromImage(correct.GetLogBiasFieldAsImage(whole)).T
        field = field[tuple(slice(n) for n in mr.array.shape)]
    except RuntimeError as error:
        raise InputError(
            "N4 cannot fit a bias field to this MR: prepare without --n4, or leave this MR out"
        ) from error
    field = np.clip(field, field[inside].min(), field[inside].max())
    return mr.with_array((mr.array / np.exp(field)).astype(np.float32))
