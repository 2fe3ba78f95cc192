"""Pelvis phantoms: pairs of T2-weighted MR and CT whose true uncertainty is known in one region.

Every patient differs in build, organs, fillings, position, bone density and coil. One ellipsoid
deep in a buttock has no MR signal and is bone-like or air-like in CT, drawn with a recorded
probability: the MR does not tell which, so the spread of p(CT | MR) is known there.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from sde_ct.errors import InputError
from sde_ct.lab.phantom.anatomy import label
from sde_ct.lab.phantom.habitus import draw_habitus
from sde_ct.lab.phantom.placing import place
from sde_ct.lab.phantom.scanner import ct_image, dominant, mr_image
from sde_ct.lab.phantom.tissues import Tissue
from sde_ct.volumes.volume import Volume

SHAPE = (64, 48, 8)
SPACING = (6.25, 6.25, 10.0)
RECORD = "phantom.json"
VERSION = 2  # raise it when the same seed gives other voxels

Shape3 = tuple[int, int, int]
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class PhantomPatient:
    """One patient; all volumes on the same grid.

    `ambiguous` marks the region whose MR is the same whether its CT is bone-like (about 800 HU)
    or air-like (about -800 HU); `prior` is the probability of bone-like, `bone_like` the draw.
    """

    mr: Volume  # a.u., float32, not negative
    ct: Volume  # HU, whole numbers in float32
    mask: Volume  # body, uint8
    labels: Volume  # the `Tissue` with the largest share of the voxel, uint8
    ambiguous: Volume  # uint8
    prior: float
    bone_like: bool


def draw_outcome(seed: int, prior: float) -> bool:
    """Whether the patient of this seed is bone-like in the ambiguous region."""
    return bool(_stream(seed, "outcome").random() < prior)


def brightness(prior: float) -> float:
    """MR signal of the ambiguous region whose prior is visible, in units of pure protons.

    From a little more than fat's to that of pure protons, in equal ratios: no tissue around the
    region looks like it, and the coils' sensitivity, which is seen in them, hides no step of 0.2.
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
) -> PhantomPatient:
    """A male pelvis, the same for the same arguments.

    Args:
      seed: of everything random; the MR depends on nothing but it, the grid and `prior_visible`.
      shape: voxels along x, y, z.
      spacing: nominal voxel size, mm; the patient's own differs by up to 2 %.
      prior: probability of the bone-like outcome.
      prior_visible: the MR tells the prior, not the outcome, by `brightness` of the region.
      bone_like: force the outcome; None draws it with `prior`.

    Raises:
      InputError: if seed, shape, spacing or prior is out of range.
    """
    require_possible(seed, shape, spacing, prior)
    outcome = draw_outcome(seed, prior) if bone_like is None else bone_like
    anatomy = _stream(seed, "anatomy")
    habitus = draw_habitus(anatomy)
    placement = place(_stream(seed, "placing"), shape, spacing, habitus.scale)
    samples = label(placement.grid, habitus, anatomy)
    labels = dominant(samples, placement.factors)
    ct = ct_image(_stream(seed, "ct"), samples, placement, bone_like=outcome)
    insert = brightness(prior) if prior_visible else None
    mr = mr_image(_stream(seed, "mr"), samples, placement, insert=insert)
    return PhantomPatient(
        mr=Volume(mr, placement.affine, "a.u."),
        ct=Volume(ct, placement.affine, "HU"),
        mask=Volume((labels != Tissue.AIR).astype(np.uint8), placement.affine, "mask"),
        labels=Volume(labels, placement.affine, "mask"),
        ambiguous=Volume((labels == Tissue.INSERT).astype(np.uint8), placement.affine, "mask"),
        prior=float(prior),
        bone_like=outcome,
    )


def write_cohort(
    directory: str | Path,
    patients: int,
    seed: int,
    *,
    shape: Shape3 = SHAPE,
    spacing: Spacing = SPACING,
    prior: float = 0.5,
    visible_priors: Sequence[float] = (),
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[Path]:
    """Write patients as NIfTI in SynthRAD2023's layout; complete ones of the same request stay.

    Each folder `DIR/Task1/pelvis/1PA001` holds mr, ct, mask, ambiguous (`.nii.gz`) and
    `phantom.json`; it appears only when complete. Patient n depends on `seed` and n alone, not on
    how many are written.

    Args:
      visible_priors: the patients' priors in turn, told by the MR (see `brightness`), in place of
        the one `prior` that no MR tells.
      progress: wraps the patient numbers, e.g. `tqdm.tqdm`.

    Returns:
      The patients' folders, in order.

    Raises:
      InputError: if a request is out of range, or a folder holds something else.
    """
    if patients < 1:
        raise InputError(f"patients must be at least 1, not {patients}.")
    options: dict[str, Any] = {"shape": shape, "spacing": spacing}
    options["prior_visible"] = bool(visible_priors)
    in_turn = visible_priors or (prior,)
    for each in in_turn:
        require_possible(seed, shape, spacing, each)
    root = Path(directory) / "Task1" / "pelvis"
    folders = {n: root / f"1PA{n:03d}" for n in range(1, patients + 1)}
    priors = {n: float(in_turn[(n - 1) % len(in_turn)]) for n in folders}
    records = {n: _record(seed, n, priors[n], options) for n in folders}
    missing = {n for n in folders if not _is_complete(folders[n], records[n])}
    root.mkdir(parents=True, exist_ok=True)
    for n in progress(tuple(folders)):
        if n in missing:
            own_seed = int(np.random.SeedSequence([seed, n]).generate_state(1)[0])
            patient = pelvis_patient(own_seed, prior=priors[n], **options)
            _write(folders[n], patient, records[n] | {"patient_seed": own_seed})
    return list(folders.values())


def _record(seed: int, number: int, prior: float, options: dict[str, Any]) -> dict[str, Any]:
    """What a patient's folder says it holds."""
    grid = {"shape": list(options["shape"]), "spacing_mm": list(options["spacing"])}
    visible = {"prior_visible": True} if options["prior_visible"] else {}
    told = {"version": VERSION, "seed": seed, "patient": number}
    return {**told, **grid, **visible, "prior": prior}


def require_possible(seed: int, shape: Shape3, spacing: Spacing, prior: float = 0.5) -> None:
    """InputError for what no phantom can be made of."""
    if seed < 0:
        raise InputError(f"seed must be 0 or greater, not {seed}.")
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise InputError(f"shape must be three whole numbers of at least 1, not {shape}.")
    if len(spacing) != 3 or not all(0 < s < np.inf for s in spacing):
        raise InputError(f"spacing must be three lengths above 0 mm, not {spacing}.")
    if not 0 <= prior <= 1:
        raise InputError(f"prior must be a probability between 0 and 1, not {prior}.")


def _stream(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers of their own for each purpose, so that none shifts another's."""
    key = ("anatomy", "placing", "mr", "ct", "outcome").index(purpose)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))


FILES = {  # name: type in the file
    "mr": np.float32,
    "ct": np.int16,
    "mask": np.uint8,
    "ambiguous": np.uint8,
}


def _is_complete(folder: Path, record: dict) -> bool:
    """Whether the folder holds this very patient; False where there is none yet."""
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        found = {}
    same = all(found.get(key) == value for key, value in record.items())
    if same and all((folder / f"{name}.nii.gz").is_file() for name in FILES):
        return True
    raise InputError(
        f"{folder} holds another or an incomplete patient: "
        "choose an empty directory or remove that folder."
    )


def _write(folder: Path, patient: PhantomPatient, record: dict) -> None:
    """Write all files beside the folder's place, then move them there in one step."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, dtype in FILES.items():
            volume: Volume = getattr(patient, name)
            image = nib.Nifti1Image(volume.array.astype(dtype), volume.affine)
            image.set_sform(volume.affine, code="scanner")
            image.set_qform(volume.affine, code="scanner")
            image.header.set_xyzt_units("mm")
            nib.save(image, partial / f"{name}.nii.gz")
        outcome = {
            "bone_like": patient.bone_like,
            "ambiguous_voxels": int(patient.ambiguous.array.sum()),
            "voxel_mm": [round(float(s), 6) for s in patient.mr.spacing],
        }
        (partial / RECORD).write_text(json.dumps(record | outcome, indent=2) + "\n")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
