"""Choose and read the patients that the report of an evaluation of files shows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.cases import read_sct
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.evaluation.table import Row
from sde_ct.report.html.report_content import PatientView, Prediction
from sde_ct.uncertainty.draws import moments
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.formats import image_suffixes
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.volume import Volume, canonical, same_grid

QUANTILES = (0.5, 1.0, 0.0, 0.75, 0.25)  # quantiles of the patients' MAE, the most important first


def choose(rows: Sequence[Row]) -> list[str]:
    """The patients with the median, highest and lowest MAE and the quartiles, over all methods."""
    patients = sorted({r.patient for r in rows})
    mae = [np.mean([r.figures["mae"] for r in rows if r.patient == p]) for p in patients]
    order = np.argsort(mae, kind="stable")
    ranks = (round(quantile * (len(order) - 1)) for quantile in QUANTILES)
    return list(dict.fromkeys(patients[order[rank]] for rank in ranks))


def patients_of(
    rows: Sequence[Row], cases: Mapping[str, Sequence[CaseFiles]]
) -> dict[str, Callable[[], PatientView]]:
    """{name: a function that loads the patient} for the patients of `choose`.

    Args:
        cases: {method: the files of all its cases}; every patient of the rows is among them.
    """
    by_name = {method: {f.name: f for f in files} for method, files in cases.items()}
    return {
        name: partial(load, {method: files[name] for method, files in by_name.items()})
        for name in choose(rows)
    }


def choice(shown: Collection[str], patients: int) -> str:
    """A sentence that says which patients are shown; empty if all are shown."""
    if len(shown) == patients:
        return ""
    return (
        f"{len(shown)} of {patients} patients: those with the median, the highest and the lowest "
        "mean absolute error over all methods, and those at its quartiles."
    )


def load(files: Mapping[str, CaseFiles]) -> PatientView:
    """One patient, from the files of its case by method.

    A file `mr` beside a reference `ct` is shown if it can be read and lies on the same grid.
    """
    case = next(iter(files.values()))  # all methods share its reference and mask
    ct = read_volume(case.reference, "HU")
    mask = read_volume(case.mask, "mask") if case.mask else ct_body(ct)
    methods = {method: _prediction(of_one) for method, of_one in files.items()}
    return PatientView(case.name, _mr(case, ct), ct, mask, methods)


def _prediction(files: CaseFiles) -> Prediction:
    draws = tuple(read_sct(path) for path in files.draws)
    spread = None
    if files.spread:
        spread = read_volume(files.spread, "a.u.")
    elif draws:
        _, variance = moments([canonical(draw).array for draw in draws])
        spread = canonical(draws[0]).with_array(np.sqrt(variance))
    return Prediction(read_sct(files.prediction), spread, draws)


def _mr(files: CaseFiles, ct: Volume) -> Volume | None:
    suffix = files.reference.name.removeprefix("ct")
    if suffix not in image_suffixes():
        return None
    path = files.reference.with_name(f"mr{suffix}")
    try:
        mr = read_volume(path, "a.u.") if path.is_file() else None
    except InputError:  # the page does not need it
        return None
    return mr if mr and same_grid(canonical(mr), canonical(ct)) else None
