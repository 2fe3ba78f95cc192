"""A CT moved onto the MR of the same patient, by mutual information (SimpleITK).

Rigid: Euler angles and a shift. Deformable: a cubic B-spline on a coarse grid of control points
after that (Rueckert et al., IEEE Trans. Med. Imaging 18(8):712, 1999). Both maximise the mutual
information of Mattes et al. (IEEE Trans. Med. Imaging 22(1):120, 2003).
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

from sde_ct.data.lps import swap_lps_ras
from sde_ct.data.overlap import ct_body, dice
from sde_ct.data.volume import Volume
from sde_ct.errors import InputError

Kind = Literal["rigid", "deformable"]
KINDS: tuple[Kind, ...] = ("rigid", "deformable")
AIR = -1024.0  # HU
HU = (-400.0, 800.0)  # what tells tissues apart; beyond it lies air or dense bone and metal
BRIGHT = 99.5  # percentile of the MR in the body, above it is the coil's work
MARGIN_MM = 12.0  # around the body, so that its edge counts
BINS = 50
SAMPLES = 60_000  # voxels that the metric looks at
SIGMAS_MM = (8.0, 4.0, 1.0)  # smoothing, coarse to fine
ALONG_MM = np.arange(-90, 91, 15)  # starts along z: a CT often sees more of the body than an MR
CONTROL_MM = 60.0  # between control points of the deformation
SEED = 1  # of the sampled voxels: the same files give the same registration


class Registered(NamedTuple):
    """A CT on the MR's grid."""

    ct: Volume  # HU; AIR where the CT was not measured
    measured: Bool[np.ndarray, "x y z"]  # where it was
    matrix: Float[np.ndarray, "4 4"]  # the rigid part: RAS mm of the MR to those of the CT
    quality: dict[str, Any]  # for the report


def register(ct: Volume, mr: Volume, body: Volume, kind: Kind) -> Registered:
    """Find where the CT lies on the MR and resample it there, linearly.

    Args:
      ct: HU, any grid and frame of reference.
      mr: a.u.
      body: mask on the MR's grid.
      kind: "rigid" or "deformable".

    Raises:
      InputError: no start brings the bodies together, or the best place found has less mutual
        information than the CT as it was given.
    """
    fixed = _image(mr, np.minimum(mr.array, np.percentile(mr.array[body.array > 0], BRIGHT)))
    moving = _image(ct, np.clip(ct.array, *HU))
    steps = [max(1, round(MARGIN_MM / s)) for s in mr.spacing]
    box = np.ones([2 * n + 1 for n in steps], bool)
    around = _image(body, ndimage.binary_dilation(body.array > 0, box).astype(np.uint8))
    try:
        rigid = _rigid(fixed, moving, around, _starts(ct, mr, body))
        found = rigid if kind == "rigid" else _deformable(fixed, moving, around, rigid)
    except RuntimeError as error:
        raise InputError(
            "MR and CT could not be registered: register them elsewhere, or leave them out"
        ) from error
    before, after = (_resampled(ct, mr, transform) for transform in (sitk.Transform(3, 1), found))
    quality = {"kind": kind} | _quality(before, after, mr, body, rigid, found, kind)
    shared = quality["mutual_information"]
    if shared["after"] < shared["before"]:
        raise InputError(
            f"{kind} registration lowered the mutual information of MR and CT from "
            f"{shared['before']:.3f} to {shared['after']:.3f}: register them elsewhere"
        )
    return Registered(*after, _matrix(rigid), quality)


def _image(volume: Volume, array: Shaped[np.ndarray, "x y z"]) -> sitk.Image:
    dtype = np.uint8 if array.dtype == np.uint8 else np.float32
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, dtype))
    affine, spacing = swap_lps_ras(volume.affine), volume.spacing
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in (affine[:3, :3] / spacing).ravel()])
    return image


def _centre(mask: Volume) -> Float[np.ndarray, "3"]:
    """LPS mm."""
    middle = np.argwhere(mask.array > 0).mean(axis=0)
    return (swap_lps_ras(mask.affine) @ [*middle, 1])[:3]


def _starts(ct: Volume, mr: Volume, body: Volume) -> list[sitk.Euler3DTransform]:
    """As the files say, and with the centres of the bodies together, shifted along the body."""
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


def _method(fixed: sitk.Image, around: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # sums in another order would give another result
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricFixedMask(around)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _rigid(fixed, moving, around, starts) -> sitk.Euler3DTransform:
    method = _method(fixed, around)
    coarse = [sitk.SmoothingRecursiveGaussian(i, SIGMAS_MM[1]) for i in (fixed, moving)]
    scores = []
    for start in starts:
        method.SetInitialTransform(start)
        try:
            scores.append(method.MetricEvaluate(*coarse))  # minus the information
        except RuntimeError:  # nothing in common
            scores.append(np.inf)
    best = sitk.Euler3DTransform(starts[int(np.argmin(scores))])
    method.SetInitialTransform(best, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=200, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    _set_levels(method)
    method.Execute(fixed, moving)
    return best


def _deformable(fixed, moving, around, rigid) -> sitk.CompositeTransform:
    extent = np.array(fixed.GetSize()) * fixed.GetSpacing()
    mesh = [max(1, int(np.ceil(length / CONTROL_MM))) for length in extent]
    spline = sitk.BSplineTransformInitializer(fixed, mesh, order=3)
    method = _method(fixed, around)
    method.SetMovingInitialTransform(rigid)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=30,
        maximumNumberOfFunctionEvaluations=40,
    )
    _set_levels(method, SIGMAS_MM[1:])
    method.Execute(fixed, moving)
    return sitk.CompositeTransform([rigid, spline])


def _set_levels(method: sitk.ImageRegistrationMethod, sigmas=SIGMAS_MM) -> None:
    method.SetShrinkFactorsPerLevel([1] * len(sigmas))  # few slices: only the sampling is sparse
    method.SetSmoothingSigmasPerLevel(list(sigmas))
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()


def _resampled(ct: Volume, mr: Volume, transform: sitk.Transform) -> tuple[Volume, np.ndarray]:
    """The CT on the MR's grid, and where it was measured."""
    like = _image(mr, np.zeros(mr.array.shape, np.uint8))
    inside = np.ones(ct.array.shape, np.uint8)
    arrays = [
        sitk.GetArrayFromImage(sitk.Resample(_image(ct, array), like, transform, how, fill)).T
        for array, how, fill in (
            (ct.array, sitk.sitkLinear, AIR),
            (inside, sitk.sitkNearestNeighbor, 0),
        )
    ]
    return Volume(arrays[0], mr.affine, "HU"), arrays[1] > 0


def _quality(before, after, mr, body, rigid, found, kind) -> dict[str, Any]:
    inside = body.array > 0
    quality: dict[str, Any] = {
        "mutual_information": {
            when: round(mutual_information(mr.array[inside], np.clip(ct.array, *HU)[inside]), 4)
            for when, (ct, _) in (("before", before), ("after", after))
        },
        "body_dice": {
            when: round(dice(body.array * measured, ct_body(ct).array * measured), 4)
            for when, (ct, measured) in (("before", before), ("after", after))
        },
        "rotation_degrees": [round(float(np.degrees(a)), 3) for a in rigid.GetParameters()[:3]],
        "translation_mm": [round(float(v), 3) for v in rigid.GetParameters()[3:]],
    }
    if kind == "deformable":
        spline = found.GetNthTransform(1)
        field = sitk.TransformToDisplacementField(
            spline, sitk.sitkVectorFloat64, mr.array.shape, *_place(mr)
        )
        length = np.linalg.norm(sitk.GetArrayFromImage(field), axis=-1).T[inside]
        jacobian = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)).T
        quality["deformation_mm"] = {
            "mean": round(float(length.mean()), 3),
            "greatest": round(float(length.max()), 3),
        }
        quality["least_jacobian"] = round(float(jacobian[inside].min()), 4)
    return quality


def _place(mr: Volume):
    image = _image(mr, np.zeros(mr.array.shape, np.uint8))
    return image.GetOrigin(), image.GetSpacing(), image.GetDirection()


def mutual_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Of two images' values at the same places, in nats, from `BINS`² bins of equal width."""
    joint = np.histogram2d(a, b, BINS)[0] / len(a)
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def _matrix(rigid: sitk.Euler3DTransform) -> Float[np.ndarray, "4 4"]:
    turn, centre = np.reshape(rigid.GetMatrix(), (3, 3)), np.array(rigid.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre - turn @ centre + rigid.GetTranslation()
    return swap_lps_ras(swap_lps_ras(matrix).T).T
