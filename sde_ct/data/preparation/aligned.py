"""One patient's volumes on one grid, and the regions that they define."""

from typing import NamedTuple

import numpy as np

from sde_ct.data.contrasts import file_name, on_first
from sde_ct.data.preparation.registration import Kind, register
from sde_ct.data.regions import signal
from sde_ct.data.regions.body import body_mask
from sde_ct.data.sources.patient import Patient
from sde_ct.errors import InputError
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.volume import Volume, apart, reordered, same_grid


class Aligned(NamedTuple):
    """A patient whose volumes all lie on the MR's grid."""

    patient: Patient  # its mask, restricted to `valid`, is the region in which results are judged
    valid: Volume  # 1 where the CT was measured and trains the network, in the body and outside


def aligned(patient: Patient, kind: Kind | None) -> Aligned:
    """Put the CT on the MR's grid, register it if requested, and determine the regions.

    Raises:
      InputError: CT, mask and MR lie on different grids, the CT is not registered or cannot be
        registered, a mask is empty, or MR and CT have no measured voxel of the body in common.
    """
    patient = _with_contrasts(_on_grid_of_mr(patient, "mask"))
    needed = None if patient.registered else kind  # the registration that is still to be done
    if patient.registered is False and not needed:
        raise InputError(
            f"the CT is not registered to the MR ({patient.chosen.get('ct', 'no record of it')}): "
            "give --register=deformable or --register=rigid"
        )
    if not needed:
        patient = _on_grid_of_mr(patient, "ct")
    mask = body_mask(patient.mr) if patient.mask is None else patient.mask
    if not mask.array.any():
        raise InputError(f"{patient.files['mr']} has an empty body mask: give another MR or mask")
    facts = {"mask": "computed" if patient.mask is None else "given", **patient.facts}
    patient = patient._replace(mask=mask, facts=facts)
    if needed:
        patient = _registered(patient, needed)
    elif kind:
        note = {"registration": "none, because the CT is already deformed onto the MR"}
        patient = patient._replace(chosen={**patient.chosen, **note})
    return _judged(patient)


def _with_contrasts(patient: Patient) -> Patient:
    """Put all contrasts on the grid of the first. Voxels that a contrast lacks are unmeasured."""
    for name, volume in patient.further.items():
        path = str(patient.files[file_name(name)])
        volume, there = on_first(volume, patient.mr, path)
        before = patient.mr_measured
        patient = patient._replace(
            further={**patient.further, name: volume},
            extra={**patient.extra, file_name(name): volume},
            mr_measured=there if before is None else there & before,
        )
    return patient


def _registered(patient: Patient, kind: Kind) -> Patient:
    """Register the CT to the MR, and report how well the registration went."""
    ct, there, _, quality = register(patient.ct, patient.mr, patient.mask, kind)  # type: ignore[arg-type]
    warnings = list(patient.warnings)
    if "kept" in quality:
        warnings.append(
            f"{kind} registration did not increase the mutual information and was not used "
            f"(CT kept: {quality['kept']})"
        )
    elif quality.get("least_jacobian", 1.0) <= 0:
        warnings.append("the deformation folds (Jacobian at most 0): look at the picture")
    facts = {**patient.facts, "registration": quality}
    return patient._replace(ct=ct, ct_measured=there, facts=facts, warnings=tuple(warnings))


def _judged(patient: Patient) -> Aligned:
    """Restrict the mask to voxels that MR and CT measured, and warn if this removes voxels."""
    valid = patient.ct_measured
    if valid is None:
        valid = measured(patient.ct, body_mask(patient.mr))
    shown = signal.with_signal(patient.mr)
    if patient.mr_measured is not None:
        shown &= patient.mr_measured
    # Outside the body, dark padding of the MR is correct, because the CT shows air there.
    if not shown.all():
        valid = valid & (shown | (ct_body(patient.ct).array == 0))
    mask = patient.mask.array > 0  # type: ignore[union-attr]
    inside = mask & valid
    if not inside.any():
        raise InputError(
            f"{patient.files['mr']} and {patient.files['ct']} show no common part of the body: "
            "pair the right files, or give --register"
        )
    share = round(1 - float(inside.sum() / mask.sum()), 4)
    warned = (
        f"{100 * share:.1f} % of the body lies outside the field of view of MR or CT and is unused"
    )
    empty = signal.warnings(signal.empty_slices(patient.mr), "the body in them is not used")
    patient = patient._replace(
        mask=patient.mr.with_array(inside.astype(np.uint8), "mask"),
        facts={**patient.facts, "body_outside_field_of_view": share},
        warnings=(*patient.warnings, *([warned] if share else []), *empty),
    )
    return Aligned(patient, patient.mr.with_array(valid.astype(np.uint8), "mask"))


def _on_grid_of_mr(patient: Patient, kind: str) -> Patient:
    """Put the voxels of the mask or CT in the MR's order. Raises InputError if the grids differ."""
    volume: Volume | None = getattr(patient, kind)
    if volume is None:
        return patient
    volume = reordered(volume, patient.mr.affine)
    if same_grid(volume, patient.mr):
        return patient._replace(**{kind: volume})  # type: ignore[arg-type]
    path, mr = patient.files[kind], patient.files["mr"]
    fix = " or give --register" if kind == "ct" else ""
    raise InputError(
        f"{path} and {mr} lie on different grids ({apart(volume, patient.mr)}): resample "
        f"{path.name} onto the MR's grid{fix}"  # type: ignore[union-attr]
    )
