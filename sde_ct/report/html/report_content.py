"""The content of a report: of one patient, and of the whole evaluation."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from sde_ct.errors import InputError
from sde_ct.evaluation.findings import Finding
from sde_ct.evaluation.table import Row
from sde_ct.uncertainty.judgement import JudgedMethod
from sde_ct.volumes.volume import Volume, canonical, same_grid


class Prediction(NamedTuple):
    """The result of one method for one patient, HU on the CT's grid."""

    mean: Volume  # the prediction; the mean of the draws where there are several
    spread: Volume | None = None  # standard deviation of the draws
    draws: tuple[Volume, ...] = ()


class PatientView(NamedTuple):
    """A patient's volumes, all on the CT's grid, with axes in any order.

    `mr` is in arbitrary units, `mask` is above 0 in the body, and the others are in HU.
    """

    name: str
    mr: Volume | None
    ct: Volume
    mask: Volume
    methods: Mapping[str, Prediction]


class Picture(NamedTuple):
    """A figure; `alt` describes it in words."""

    title: str
    alt: str
    png: bytes

    @classmethod
    def drawn(cls, title: str, alt: str, figure: Figure) -> "Picture":
        """A figure as PNG without date and version, so that equal figures give equal bytes."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return cls(title, alt, buffer.getvalue())


class Report(NamedTuple):
    """The content of a report.

    Attributes:
        rows: as in metrics.csv; the tables summarise them over patients.
        findings: the paper's findings and their verdicts; left out if none was measured.
        patients: {name: a function that loads the volumes}. Each is called once, so that only one
            patient is in memory. The last patients are left out of a file that would be too large.
        choice: a sentence that says which patients are shown.
        judgements: {method: the scores of its draws}.
        curves: {run: the records of its metrics.jsonl}, from `training_curves.read_curves`.
        provenance: {heading: settings, versions and hashes as a tree of JSON types}.
        warnings: sentences at the top of the page.
    """

    title: str
    rows: Sequence[Row]
    findings: Sequence[Finding] = ()
    patients: Mapping[str, Callable[[], PatientView]] = {}
    choice: str = ""
    judgements: Mapping[str, JudgedMethod] = {}
    figures: Sequence[Picture] = ()
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    provenance: Mapping[str, Any] = {}
    warnings: Sequence[str] = ()


def require_one_grid(view: PatientView) -> None:
    """Raise an InputError that names the volume which does not lie on the CT's grid."""
    volumes = {"MR": view.mr, "mask": view.mask}
    for name, method in view.methods.items():
        volumes |= {name: method.mean, f"spread of {name}": method.spread}
        volumes |= {f"draw {n} of {name}": d for n, d in enumerate(method.draws, start=1)}
    for name, volume in volumes.items():
        if volume is not None and not same_grid(canonical(volume), canonical(view.ct)):
            raise InputError(
                f"{view.name}: the {name} lies on another grid than the CT: resample it."
            )
