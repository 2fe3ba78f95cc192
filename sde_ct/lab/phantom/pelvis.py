"""Pelvis phantoms: pairs of T2-weighted MR and CT whose true uncertainty is known in one region.

Patients differ in build, organs and their filling, position, bone density and coil sensitivity. One
ellipsoid deep in a buttock is either bone-like or air-like in CT, with a recorded probability. Its
MR has no signal, or shows this probability, but never the outcome. The spread of p(CT | MR) is
therefore known there.
"""

from dataclasses import dataclass

import numpy as np

from sde_ct.errors import InputError
from sde_ct.lab.phantom.anatomy import label
from sde_ct.lab.phantom.habitus import draw_habitus
from sde_ct.lab.phantom.placing import place
from sde_ct.lab.phantom.scanner import SCANNERS, T1, Scanner, ct_image, dominant, mr_image
from sde_ct.lab.phantom.tissues import Tissue
from sde_ct.volumes.volume import Volume

SHAPE = (64, 48, 8)
SPACING = (6.25, 6.25, 10.0)
TALLEST = 360.0  # mm along z; beyond this the outline of the body would shrink to nothing
VERSION = 2  # raise this number when the same seed gives other voxels

Shape3 = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class PhantomPatient:
    """One patient; all volumes lie on the same grid.

    `ambiguous` marks the region whose MR is the same whether its CT is bone-like (about 800 HU) or
    air-like (about -800 HU).
    """

    mr: Volume  # a.u., float32, not negative
    ct: Volume  # HU, whole numbers in float32
    mask: Volume  # the body, uint8
    labels: Volume  # the `Tissue` of every voxel, see `dominant`; uint8
    ambiguous: Volume  # uint8
    prior: float  # probability of the bone-like outcome
    bone_like: bool  # the outcome
    t1: Volume | None = None  # a T1-weighted MR, a.u., float32


def draw_outcome(seed: int, prior: float) -> bool:
    """Whether the ambiguous region of this seed's patient is bone-like."""
    return bool(_stream(seed, "outcome").random() < prior)


def brightness(prior: float) -> float:
    """MR signal of an ambiguous region that shows its prior, relative to that of pure protons.

    It increases exponentially from a little above the signal of fat to that of pure protons, so
    that no surrounding tissue has the same signal. A step of 0.2 in the prior changes it more than
    the uneven coil sensitivity does.
    """
    return 0.35 * 2.85**prior


def pelvis_patient(
    seed: int,
    *,
    shape: Shape3 = SHAPE,
    spacing: Spacing = SPACING,
    prior: float = 0.5,
    prior_visible: bool = False,
    bone_like: bool | None = None,
    scanner: Scanner = SCANNERS["A"],
    t1: bool = False,
    sided: bool = False,
) -> PhantomPatient:
    """A male pelvis; the same arguments give the same voxels.

    Args:
      seed: seed of everything random. Apart from it, the MR depends only on the grid, the scanner,
        `sided` and, if `prior_visible`, the prior.
      shape: voxels along x, y, z.
      spacing: nominal voxel size, mm; the patient's own differs by up to 2 %.
      prior: probability of the bone-like outcome.
      prior_visible: whether the MR shows the prior (not the outcome), by the region's `brightness`.
      bone_like: the outcome; None draws it with probability `prior`.
      scanner: of the MR; the CT does not depend on it.
      t1: whether to make a T1-weighted MR too. Nothing else depends on it.
      sided: whether one more organ, the caecum, lies on the right. Otherwise left and right are
        alike on average, apart from the upper rectum.

    Raises:
      InputError: if seed, shape, spacing or prior is out of range, or the volume is taller than
        `TALLEST`.
    """
    require_possible(seed, shape, spacing, prior)
    outcome = draw_outcome(seed, prior) if bone_like is None else bone_like
    anatomy = _stream(seed, "anatomy")
    habitus = draw_habitus(anatomy)
    placement = place(_stream(seed, "placing"), shape, spacing, habitus.scale)
    samples = label(placement.grid, habitus, anatomy, sided=sided)
    labels = dominant(samples, placement.factors)
    ct = ct_image(_stream(seed, "ct"), samples, placement, bone_like=outcome)
    insert = brightness(prior) if prior_visible else None
    image = mr_image(_stream(seed, "mr"), samples, placement, scanner=scanner, insert=insert)
    mr = Volume(image, placement.affine, "a.u.")
    second = mr_image(_stream(seed, "t1"), samples, placement, scanner=T1) if t1 else None
    return PhantomPatient(
        mr=mr,
        ct=mr.with_array(ct, "HU"),
        mask=mr.with_array((labels != Tissue.AIR).astype(np.uint8), "mask"),
        labels=mr.with_array(labels, "mask"),
        ambiguous=mr.with_array((labels == Tissue.INSERT).astype(np.uint8), "mask"),
        prior=float(prior),
        bone_like=outcome,
        t1=None if second is None else mr.with_array(second),
    )


def require_possible(seed: int, shape: Shape3, spacing: Spacing, prior: float = 0.5) -> None:
    """Raise an InputError that names an argument that is out of range."""
    if seed < 0:
        raise InputError(f"seed must be 0 or greater, not {seed}.")
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise InputError(f"shape must be three whole numbers of at least 1, not {shape}.")
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise InputError(f"spacing must be three lengths above 0 mm, not {spacing}.")
    if (height := shape[2] * spacing[2]) > TALLEST:
        raise InputError(
            f"shape and spacing: {height:g} mm along z are more than a phantom's pelvis has: give "
            f"{TALLEST:g} mm or less."
        )
    if not 0 <= prior <= 1:
        raise InputError(f"prior must be a probability between 0 and 1, not {prior}.")


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator for one purpose. Generators for different purposes are independent."""
    key = ("anatomy", "placing", "mr", "ct", "outcome", "t1").index(purpose)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))
