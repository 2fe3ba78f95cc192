"""What a report shows of a patient, and of the whole."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from matplotlib.figure import Figure

from sde_ct.errors import InputError
from sde_ct.evaluation.findings import Finding
from sde_ct.evaluation.table import Row
from sde_ct.uncertainty.judgement import JudgedMethod
from sde_ct.volumes.volume import Volume, canonical, same_grid


class MethodView(Protocol):
    """What one method says of one patient, HU on the CT's grid; `SyntheticCT` is one."""

    @property
    def mean(self) -> Volume: ...  # the prediction, the mean of the draws where there are several

    @property
    def spread(self) -> Volume | None: ...  # standard deviation of the draws

    @property
    def draws(self) -> Sequence[Volume]: ...  # none or one: there is nothing to choose from


class Prediction(NamedTuple):
    """A `MethodView` of files."""

    mean: Volume
    spread: Volume | None = None
    draws: tuple[Volume, ...] = ()


class PatientView(NamedTuple):
    """A patient's volumes, all on the CT's grid, in any order of axes.

    `mr` is in arbitrary units, `mask` above 0 in the body, the others are in HU.
    """

    name: str
    mr: Volume | None
    ct: Volume
    mask: Volume
    methods: Mapping[str, MethodView]


class Picture(NamedTuple):
    """A figure; `alt` says in words what it shows."""

    title: str
    alt: str
    png: bytes

    @classmethod
    def drawn(cls, title: str, alt: str, figure: Figure) -> "Picture":
        """A matplotlib figure as PNG, without date and version, so that its bytes are fixed."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return cls(title, alt, buffer.getvalue())


class Report(NamedTuple):
    """All that a report says.

    Attributes:
        rows: as in metrics.csv; the table sums them up over patients.
        findings: the paper's, judged; empty where the rows are of other methods.
        patients: name -> loads the volumes; called once, so that one patient is in memory.
            Where the file would grow too large, the last ones are left out.
        choice: a sentence that says which patients these are.
        judgements: of the draws, by method.
        figures: pictures of all patients.
        curves: run -> the records of its metrics.jsonl (`curves.read_curves`).
        provenance: heading -> settings, versions, hashes: a tree of JSON's types.
        warnings: sentences that a reader must see first.
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
    """Raise an `InputError` that names the volume which does not lie on the CT's grid."""
    ct = canonical(view.ct)
    others = {"MR": view.mr, "mask": view.mask}
    for method, of_one in view.methods.items():
        others |= {method: of_one.mean, f"spread of {method}": of_one.spread}
        others |= {f"draw {n} of {method}": d for n, d in enumerate(of_one.draws, start=1)}
    for name, volume in others.items():
        if volume is not None and not same_grid(canonical(volume), ct):
            raise InputError(
                f"{view.name}: the {name} lies on another grid than the CT: resample one onto the "
                "other."
            )
