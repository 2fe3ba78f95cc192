"""Register a CT to the MR of the same patient.

Rigid: Euler angles and a shift that maximise the mutual information of Mattes et al. (IEEE Trans.
Med. Imaging 22(1):120, 2003), by SimpleITK. Deformable: a cubic B-spline after the rigid
registration, by elastix.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float
from scipy import ndimage

from sde_ct.data.preparation.elastix import deformation
from sde_ct.errors import InputError
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.lps import itk_image, swap_lps_ras
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.volume import Volume

Kind = Literal["rigid", "deformable"]
AIR = -1024.0  # HU
HU = (-400.0, 800.0)  # the range of tissues; air lies below it, dense bone and metal above
BRIGHT = 99.5  # percentile of the MR in the body; brighter voxels lie near a coil
MARGIN_MM = 12.0  # margin around the body, so that the body's edge is in the metric
BINS = 32
SAMPLES = 60_000  # number of voxels in the metric
SIGMAS_MM = (8.0, 4.0, 1.0)  # sigma of the smoothing, from coarse to fine
# Shifts along z from which the search starts, because a CT often shows more of the body.
ALONG_MM = np.arange(-90, 91, 15)
SEED = 1  # seed of the sampled voxels; the same files give the same result, except for rounding


class Registered(NamedTuple):
    """A CT on the MR's grid."""

    ct: Volume  # HU; AIR where the CT was not measured
    measured: Bool[np.ndarray, "x y z"]  # where the CT was measured
    matrix: Float[np.ndarray, "4 4"]  # the rigid part, from RAS mm of the MR to RAS mm of the CT
    quality: dict[str, Any]  # figures for the report


def register(ct: Volume, mr: Volume, body: Volume, kind: Kind) -> Registered:
    """Register the CT to the MR and resample it on the MR's grid, linearly and once.

    The result is the given, the rigidly moved or the deformed CT, whichever has the largest mutual
    information with the MR. If it is not of the requested kind, `quality["kept"]` names it.

    Args:
      ct: HU, any grid and frame of reference.
      mr: a.u.
      body: mask on the MR's grid.
      kind: "rigid" or "deformable".

    Raises:
      InputError: SimpleITK or elastix cannot register the images, or elastix is not installed.
    """
    steps = [2 * max(1, round(MARGIN_MM / s)) + 1 for s in mr.spacing]
    inside = body.array > 0
    around = ndimage.binary_dilation(inside, np.ones(steps, bool)).astype(np.uint8)
    dim = mr.with_array(np.minimum(mr.array, np.percentile(mr.array[inside], BRIGHT)))
    soft = ct.with_array(np.clip(ct.array, *HU))
    try:
        images = [itk_image(v.array, v.affine) for v in (dim, soft, mr.with_array(around))]
        rigid = _rigid(*images, _starts(ct, mr, body))  # type: ignore[call-arg]
    except RuntimeError as error:
        raise InputError(
            "MR and CT could not be registered: register them with another program, or leave the "
            "patient out"
        ) from error
    matrix = _matrix(rigid)
    known = measured(ct)
    made = {
        "before": _moved(ct, known, mr, np.eye(4), None),
        "rigid": _moved(ct, known, mr, matrix, None),
    }
    facts: dict[str, Any] = {}
    if kind == "deformable":
        ways = deformation(dim, _moved(soft, known, mr, matrix, None)[0], around)
        made["deformable"] = _moved(ct, known, mr, matrix, ways)
        facts = _size(ways, mr, body)
    shared = {
        when: mutual_information(mr.array[inside], np.clip(moved.array, *HU)[inside])
        for when, (moved, _) in made.items()
    }
    best = max(shared, key=shared.__getitem__)
    if best != kind:  # a search that begins at the best position can end away from it
        facts["kept"] = "as given" if best == "before" else best
        matrix = np.eye(4) if best == "before" else matrix
    quality = {
        "kind": kind,
        "mutual_information": {when: round(value, 4) for when, value in shared.items()},
        "body_dice": {
            when: round(dice(body.array * there, ct_body(moved).array * there), 4)
            for when, (moved, there) in (("before", made["before"]), ("after", made[best]))
        },
        "rotation_degrees": [round(float(np.degrees(a)), 3) for a in rigid.GetParameters()[:3]],
        "translation_mm": [round(float(v), 3) for v in rigid.GetParameters()[3:]],
    }
    return Registered(*made[best], matrix, quality | facts)


def _centre(mask: Volume) -> Float[np.ndarray, "3"]:
    """Centre of the mask, LPS mm."""
    middle = np.argwhere(mask.array > 0).mean(axis=0)
    return (swap_lps_ras(mask.affine) @ [*middle, 1])[:3]


def _starts(ct: Volume, mr: Volume, body: Volume) -> list[sitk.Euler3DTransform]:
    """Starts of the search: positions as in the files, and aligned body centres shifted along z."""
    centre = _centre(body)
    there = ct_body(ct)
    between = _centre(there) - centre if there.array.any() else np.zeros(3)
    shifts = [np.zeros(3), *(between + np.array([0, 0, z]) for z in ALONG_MM)]
    starts = []
    for shift in shifts:
        start = sitk.Euler3DTransform()
        start.SetCenter(centre.tolist())
        start.SetTranslation([float(v) for v in shift])
        starts.append(start)
    return starts


def _rigid(fixed, moving, around, starts) -> sitk.Euler3DTransform:
    """Search from the start with the largest mutual information inside `around`."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # several patients are processed at once
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(around)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    coarse = [sitk.SmoothingRecursiveGaussian(i, SIGMAS_MM[1]) for i in (fixed, moving)]
    scores = []
    for start in starts:
        method.SetInitialTransform(start)
        try:
            # The metric is the negative mutual information.
            scores.append(method.MetricEvaluate(*coarse))
        except RuntimeError:  # the images have nothing in common
            scores.append(np.inf)
    best = sitk.Euler3DTransform(starts[int(np.argmin(scores))])
    method.SetInitialTransform(best, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=200, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    # Volumes have few slices, so images are not shrunk; only their voxels are sampled sparsely.
    method.SetShrinkFactorsPerLevel([1] * len(SIGMAS_MM))
    method.SetSmoothingSigmasPerLevel(list(SIGMAS_MM))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.Execute(fixed, moving)
    return best


def _moved(
    ct: Volume,
    known: Bool[np.ndarray, "a b c"],
    mr: Volume,
    matrix: Float[np.ndarray, "4 4"],
    ways: np.ndarray | None,
) -> tuple[Volume, Bool[np.ndarray, "x y z"]]:
    """The CT on the MR's grid, and the voxels where it was measured.

    A point of the MR is moved by the displacement `ways` (RAS mm) and then by `matrix`. `known`
    marks the measured voxels on the CT's own grid, and interpolation uses no others. The work is
    done slice by slice, because the coordinates of all voxels take more memory than the volumes.
    """
    to_index = np.linalg.inv(ct.affine) @ matrix
    array = np.empty(mr.array.shape, np.float32)
    there = np.empty(mr.array.shape, bool)
    share = known.astype(np.float32)
    plane = np.indices(mr.array.shape[:2]).reshape(2, -1)
    limits = np.array(ct.array.shape)[:, None] - 0.5
    for k in range(mr.array.shape[2]):
        places = mr.affine[:3, :2] @ plane + (mr.affine[:3, 2] * k + mr.affine[:3, 3])[:, None]
        if ways is not None:
            places += ways[..., k, :].reshape(-1, 3).T
        index = to_index[:3, :3] @ places + to_index[:3, 3:]
        values = ndimage.map_coordinates(ct.array, index, order=1, mode="nearest")
        whole = ndimage.map_coordinates(share, index, order=1, mode="nearest") > 1 - 1e-3
        inside = whole & ((index >= -0.5) & (index <= limits)).all(axis=0)
        array[..., k] = np.where(inside, values, AIR).reshape(array.shape[:2])
        there[..., k] = inside.reshape(array.shape[:2])
    return mr.with_array(array, "HU"), there


def _size(ways: Float[np.ndarray, "x y z 3"], mr: Volume, body: Volume) -> dict[str, Any]:
    """Displacements of the body's voxels, and the least Jacobian; at 0 or below, tissue folds."""
    inside = body.array > 0
    length = np.linalg.norm(ways, axis=-1)[inside]
    by_voxel = np.stack(np.gradient(ways, axis=(0, 1, 2)), axis=-1)  # d way / d index
    jacobian = np.linalg.det(np.eye(3) + by_voxel @ np.linalg.inv(mr.affine[:3, :3]))
    return {
        "deformation_mm": {
            "mean": round(float(length.mean()), 3),
            "greatest": round(float(length.max()), 3),
        },
        "least_jacobian": round(float(jacobian[inside].min()), 4),
    }


def mutual_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Mutual information of two images' values, in nats, from `BINS`² bins of equal width."""
    joint = np.histogram2d(a, b, BINS)[0] / len(a)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def _matrix(rigid: sitk.Euler3DTransform) -> Float[np.ndarray, "4 4"]:
    turn, centre = np.reshape(rigid.GetMatrix(), (3, 3)), np.array(rigid.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + rigid.GetTranslation()
    return swap_lps_ras(swap_lps_ras(matrix).T).T
