"""One patient's volumes on one grid, and the part of the body that both scanners measured."""

import numpy as np
from jaxtyping import Bool

from sde_ct.data.preparation.registration import Kind, register
from sde_ct.data.regions.body import body_mask
from sde_ct.data.sources.patient import Patient
from sde_ct.errors import InputError
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.volume import Volume, corners_apart, same_grid


def aligned(patient: Patient, kind: Kind | None) -> Patient:
    """The patient with CT and mask on the MR's grid, registered where that is asked for.

    Its mask is the body where both scanners measured it.

    Raises InputError where they lie on different grids, or the body was not measured.
    """
    _require_same_grid(patient, "mask")
    moves = kind is not None and not patient.registered
    if patient.registered is False and not moves:
        raise InputError(
            f"the CT is not registered to the MR ({patient.chosen.get('ct', 'nothing says so')}): "
            "give --register=deformable or --register=rigid"
        )
    if not moves:
        _require_same_grid(patient, "ct")
    body = body_mask(patient.mr) if patient.mask is None else patient.mask
    if not body.array.any():
        raise InputError(f"{patient.files['mr']} has an empty body mask: give another MR or mask")
    if moves:
        return _registered(patient, body, kind)  # type: ignore[arg-type]
    if kind:
        told = {"registration": "none: the CT is deformed onto the MR already"}
        patient = patient._replace(chosen={**patient.chosen, **told})
    return _masked(patient, body, measured(patient.ct) if patient.seen is None else patient.seen)


def _registered(patient: Patient, body: Volume, kind: Kind) -> Patient:
    ct, there, _, quality = register(patient.ct, patient.mr, body, kind)
    warnings = list(patient.warnings)
    if quality.get("least_jacobian", 1.0) <= 0:
        warnings.append("the deformation folds (Jacobian at most 0): look at the picture")
    if "kept" in quality:
        warnings.append(f"{kind} registration raised no mutual information: {quality['kept']} kept")
    patient = patient._replace(
        ct=ct,
        copies=patient.copies | {"ct"},
        facts={**patient.facts, "registration": quality},
        warnings=tuple(warnings),
    )
    return _masked(patient, body, there if patient.seen is None else there & patient.seen)


def _masked(patient: Patient, body: Volume, seen: Bool[np.ndarray, "x y z"]) -> Patient:
    """The patient with the part of its body that was `seen` as mask."""
    inside = (body.array > 0) & seen
    if not inside.any():
        raise InputError(
            f"{patient.files['mr']} and {patient.files['ct']} show no common part of the body: "
            "pair the right files, or give --register"
        )
    lost = int((body.array > 0).sum()) - int(inside.sum())
    share = round(lost / (lost + int(inside.sum())), 4)
    told = {"mask": "computed" if patient.mask is None else "given"}
    warned = f"{100 * share:.1f} % of the body lie outside a field of view: masked"
    return patient._replace(
        mask=body.with_array(inside.astype(np.uint8)),
        copies=patient.copies | ({"mask"} if lost else set()),
        facts={**told, **patient.facts, "body_outside_field_of_view": share},
        warnings=(*patient.warnings, *([warned] if share else [])),
    )


def _require_same_grid(patient: Patient, kind: str) -> None:
    volume: Volume | None = getattr(patient, kind)
    if volume is None or same_grid(volume, patient.mr):
        return
    if volume.array.shape != patient.mr.array.shape:
        what = f"shape {volume.array.shape} against {patient.mr.array.shape}"
    else:
        gap = corners_apart(volume.affine, patient.mr.affine, volume.array.shape)
        what = f"corners {gap:.3g} mm apart"
    path, mr = patient.files[kind], patient.files["mr"]
    mend = " or give --register" if kind == "ct" else ""
    raise InputError(
        f"{path} and {mr} lie on different grids ({what}): resample {path.name} on the MR's{mend}"  # type: ignore[union-attr]
    )
