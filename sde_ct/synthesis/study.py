"""Find the study that a CT series joins if the MR is a NIfTI or MetaImage made from DICOM."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.identity import Identity, identity_of
from sde_ct.volumes.dicom.series import Series, open_series
from sde_ct.volumes.files import MODALITIES
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.volume import CORNER_MM, Volume, corners_apart, reordered


def open_study(study: Path, choices: Sequence[Choice] = ()) -> Series:
    """The MR series in a folder, or the series of one file.

    Raises InputError as `open_series` does, or if the path is not DICOM or the series is not MR.
    """
    if format_of(study) != "DICOM":
        raise InputError(f"--study={study} is not DICOM: give the folder of the MR series")
    series = open_series(study, choices)
    if series.modality != MODALITIES["a.u."]:
        raise InputError(f"--study={study} holds a series of {series.modality}: give one of MR")
    return series


def identity_in(series: Series, mr: Volume, name: str, patient_id: str = "") -> Identity:
    """The identity of a series, for an MR that was made from it; errors call the MR `name`.

    If the MR's voxels are voxels of the series, in any order of axes, the CT's slices refer to
    slices of the series. Otherwise they have the MR's own grid, and a note says so.

    Raises InputError as `identity_of` does, or if the MR does not lie within the series.
    """
    beyond = _beyond_mm(series, mr)
    if beyond > CORNER_MM:
        raise InputError(
            f"{name} does not lie within {series.path} but reaches {beyond:.3g} mm beyond it: "
            "give as --study the MR series from which the MR was made"
        )
    identity = identity_of(series, patient_id)
    near = reordered(mr, series.affine)
    start = np.rint(np.linalg.inv(series.affine) @ near.affine[:, 3])[:3]
    affine = series.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    first, depth = int(start[2]), near.array.shape[2]
    sources = identity.sources[max(0, first) : first + depth]
    same_voxels = corners_apart(affine, near.affine, near.array.shape) <= CORNER_MM
    if same_voxels and len(sources) == depth:
        return replace(identity, affine=affine, sources=sources)
    note = (
        "The MR lies within the series given as --study, but was resampled: the CT series has the "
        "MR's grid, and its slices do not refer to slices of that series."
    )
    own = identity.at(mr.affine)
    return replace(own, notes=(*own.notes, note))


def _beyond_mm(series: Series, mr: Volume) -> float:
    """How far the MR extends beyond a series, mm.

    Either the centres of the outermost voxels or their outer edges may coincide, because some
    programs that resample keep the centres and others the edges.
    """
    index = np.linalg.inv(series.affine) @ mr.affine
    last, spacing = np.array(series.shape) - 1, np.linalg.norm(series.affine[:3, :3], axis=0)
    beyond = []
    for margin in (0.0, 0.5):  # voxels
        ends = [*product(*((-margin, n - 1 + margin) for n in mr.array.shape), (1,))]
        corners = (index @ np.array(ends).T)[:3].T
        excess = np.maximum(np.maximum(-margin - corners, corners - last - margin), 0.0)
        beyond.append(np.linalg.norm(excess * spacing, axis=1).max())
    return float(min(beyond))
