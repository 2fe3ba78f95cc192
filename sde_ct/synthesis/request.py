"""The request for a synthesis, and the result for one volume."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.errors import InputError
from sde_ct.synthesis.sources import Source, require_masks
from sde_ct.uncertainty.ray_plan import RayPlan
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.structures import require_structures
from sde_ct.volumes.target import require_targets


class RayRequest(NamedTuple):
    """A request for path lengths to a target."""

    plan: RayPlan
    target: str  # as in `find_target`
    save_fan: Callable[..., Any]  # `report.rays.save_fan`; synthesis does not import reports


class AcceptRequest(NamedTuple):
    """A request for a verdict on every volume."""

    limit: float | None  # the widest interval of a path length that passes, mm; None: no limit
    save_page: Callable[..., Any]  # `report.html.acceptance_page.save_page`


@dataclass(frozen=True)
class Request:
    """The settings of a synthesis, the same for every volume."""

    workdirs: tuple[str, ...]  # of each network; several networks share the draws
    output: Path
    sampler: str | None = None  # as in `Synthesizer`; None if the method takes no sampler
    # Of all networks; None: 10 or more, at least 2 per network, or 1 each if draws do not differ.
    draws: int | None = None
    evaluations: int | None = None  # of the sampler in each draw; None takes those of the recipe
    sde: str | None = None  # SDE of the sampler, "vp" or "ve"; None takes that of the recipe
    seed: int = 0
    # Where collapse is checked: a mask, an RTSTRUCT or a folder of masks; None: the body.
    mask: Path | None = None
    calibrated: bool = False  # correct the spread and write intervals
    batch: int | None = None  # slices per device; None means as many as the memory holds
    each: bool = False  # write every draw too
    dicom: bool = False  # also write a CT series and maps as DICOM
    choices: tuple[Choice, ...] = ()  # values of DICOM tags that select the MR's images
    patient_id: str = ""  # PatientID of the CT series, if the MR has none
    study: Path | None = None  # the DICOM series from which a NIfTI or MetaImage was made
    axial: bool = False  # also write a CT series in straight axial slices; needs `dicom`
    checkpoint: str = "best"  # "best" by validation loss, or "newest"
    rays: RayRequest | None = None  # path lengths that are measured in the draws
    structures: Path | None = None  # holds a folder of structures for each MR, named after the MR
    accept: AcceptRequest | None = None  # judge whether the CT passes or must be reviewed

    def require_fitting(self, sources: Sequence[Source]) -> None:
        """Raise InputError if a path does not exist, or a setting is not for these volumes."""
        names = [source.name for source in sources]
        for flag, value in (("patient_id", self.patient_id), ("study", self.study)):
            if value and len(names) > 1:
                raise InputError(f"--{flag} is for one MR: give one --mr, not {len(names)}.")
        if self.mask:
            require_masks(self.mask, names)
        if self.rays:
            require_targets(self.rays.target, names)
        if self.structures:
            require_structures(self.structures, names)


class Measured(NamedTuple):
    """Further outputs for one volume, which are measured in its draws."""

    paths: tuple[str, ...]  # the outputs, relative to the output of the synthesis
    record: dict[str, Any]  # the settings for the sidecar
    write: Callable[..., list[str]]  # (folder, ct) -> the lines for a terminal; writes `paths`


class Done(NamedTuple):
    """The result for one volume."""

    name: str
    sentence: str
    warnings: tuple[str, ...] = ()  # those of the sidecar, and of CT series
    notes: tuple[str, ...] = ()  # notes on what is unusual or was made up in the files
    lines: tuple[str, ...] = ()  # path lengths, structures and the verdict, as text
    passed: bool = True  # False if a verdict asks for a review
