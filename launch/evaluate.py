"""Compare synthetic with real CTs, of this or any other method: a table, metrics.csv and
metrics.json, and report.html to look at the cases.

    python launch/evaluate.py --prediction=out/sct --reference=data/pelvis --output=out/scores
    python launch/evaluate.py --prediction=out/ours --prediction=out/theirs \\
        --reference=data/pelvis --protocol=synthrad2025 --output=out/scores

Predictions are `<case>.nii.gz`; references and masks are `<case>.nii.gz` or, as SynthRAD has them,
`<case>/ct.nii.gz` and `<case>/mask.nii.gz` at any depth; `.nii`, `.mha` and `.mhd` do as well.
Every path may be a single file. Several predictions are compared in pairs on the same patients.
With --draws, a folder of `<case>_00.nii.gz` and so on, or of folders `<case>`, uncertainty.json
judges the draws: calibration by tissue, and how many are enough.

--export-dose=DIR writes every evaluated case as matRad and pyRadPlan read it, with the masks in
--structures=DIR/<case>/. --gamma=REFERENCE,EVALUATED compares two dose grids in Gy, RTDOSE files,
NIfTI or MetaImage (extra `dose`), and writes gamma.json.

A case that cannot be used (NaN, another grid, an empty mask, a missing file, a name without its
reference) is named on stderr and in metrics.json under `refused`; the others are evaluated, and the
status is 0. It is 2, and nothing is written, where no case is left. The same files and flags give
the same bytes, wherever the folders lie.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from absl import flags

from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

_PREDICTION = flags.DEFINE_multi_string(
    "prediction", None, "Synthetic CTs: folder or file; again for each method."
)
_REFERENCE = flags.DEFINE_string("reference", None, "Real CTs: folder or file.")
_MASK = flags.DEFINE_string(
    "mask", None, "Body masks: folder or file. Default: beside the real CT, or computed from it."
)
_SPREAD = flags.DEFINE_string(
    "spread", None, "Standard deviations of the one method's draws: folder or file."
)
_DRAWS = flags.DEFINE_multi_string(
    "draws", [], "Draws of each prediction, which is their mean: folder; again for each method."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for metrics.csv, metrics.json, report.html ..."
)
_PROTOCOL = flags.DEFINE_string(
    "protocol", "volume", "How to score: volume, paper, synthrad2023 or synthrad2025."
)
_Z_SLICES = flags.DEFINE_string("z_slices", ":", "Axial slices that count, such as 1::2.")
_METHOD = flags.DEFINE_multi_string(
    "method", None, "Name of each prediction's row. Default: 'prediction', or the folders' names."
)
_EXPORT = flags.DEFINE_string(
    "export-dose", None, "Folder to write CT, synthetic CT and structures to, for dose engines."
)
_STRUCTURES = flags.DEFINE_string("structures", None, "Folder of folders <case> of masks.")
_GAMMA = flags.DEFINE_list(
    "gamma", [], "Doses on the real and on the synthetic CT, Gy: A,B; RTDOSE, NIfTI or MetaImage."
)
flags.mark_flags_as_required(["prediction", "reference", "output"])

TISSUES = ("all", "air", "soft", "bone")


def main() -> None:
    from sde_ct.data.dataset import parse_slices
    from sde_ct.evaluation import dose
    from sde_ct.evaluation.cases import evaluate_methods
    from sde_ct.evaluation.findings import findings
    from sde_ct.evaluation.matching import match_cases
    from sde_ct.evaluation.protocols import PROTOCOLS, constants
    from sde_ct.evaluation.results import refuse_existing, write_json, write_metrics
    from sde_ct.evaluation.table import summarise, text_table
    from sde_ct.report.html.contents import Report
    from sde_ct.report.html.patients_from_files import choice, patients_of
    from sde_ct.report.html.report_file import NAME as REPORT
    from sde_ct.report.html.report_file import write_report
    from sde_ct.storage.versions import versions
    from sde_ct.uncertainty import judgement
    from sde_ct.uncertainty.intervals import caveat

    output, protocol = Path(_OUTPUT.value), PROTOCOLS.get(_PROTOCOL.value)
    if protocol is None:
        raise InputError(f"--protocol={_PROTOCOL.value}: give one of {', '.join(PROTOCOLS)}.")
    optional = [*([judgement.NAME] if _DRAWS.value else []), *([dose.NAME] if _GAMMA.value else [])]
    refuse_existing(output, [*optional, REPORT])
    z_slices = parse_slices(_Z_SLICES.value or ":")
    predictions = [Path(path) for path in _PREDICTION.value]
    others = (_REFERENCE.value, _MASK.value, _SPREAD.value)
    reference, mask, spread = (Path(path) if path else None for path in others)
    methods = _methods(predictions)
    draws = [Path(path) for path in _DRAWS.value] or [None] * len(predictions)
    matched = {
        method: match_cases(prediction, reference, mask, spread, several)
        for method, prediction, several in zip(methods, predictions, draws, strict=True)
    }
    exports = _exports(next(iter(matched.values())).cases) if _EXPORT.value else {}
    judged_doses = _gamma() if _GAMMA.value else []
    found = evaluate_methods(matched, protocol, z_slices, _bar)
    refused = {method: of_one.refused for method, of_one in found.items()}
    _tell(refused)
    table = [row for of_one in found.values() for row in of_one.rows]
    if not table:
        raise InputError(_nothing_left(refused))
    names = {row.patient for row in table}
    if exports:
        dose.export_files(Path(_EXPORT.value), [exports[name] for name in sorted(names)])
    cases = [case for files in matched.values() for case in files.cases]
    settings = {"z_slices": _Z_SLICES.value, "masks": {c.name: _mask_of(c) for c in cases}}
    everywhere = [*predictions, reference, *filter(None, (mask, spread, *draws))]
    left_out = _record(refused, everywhere)
    write_metrics(output, table, protocol, settings, refused=left_out)
    print(text_table(summarise(table)), end="")
    judged = {m: judgement.over_patients(one.judged) for m, one in found.items() if one.judged}
    if judged:
        write_json(output / judgement.NAME, judgement.record(judged))
        print("", *judgement.lines(judged, TISSUES), sep="\n")
    if judged_doses:
        write_json(output / dose.NAME, dose.record(judged_doses))
        print(*dose.lines(judged_doses), sep="\n")
    if sentence := caveat(len(names)):
        print(sentence)
    shown = patients_of(table, {method: files.cases for method, files in matched.items()})
    report = Report(
        title=f"Synthetic CTs, protocol {protocol.name}",
        rows=table,
        findings=findings(table),
        patients=shown,
        choice=choice(shown, len(names)),
        judgements=judged,
        provenance={"Protocol": constants(protocol), "Settings": settings, "Versions": versions()},
        warnings=[
            *filter(None, [caveat(len(names))]),
            *judgement.warnings(judged),
            *(f"Left out of {m}: {c}. {reason}" for m, c, reason in _by_reason(left_out)),
        ],
    )
    write_report(output / REPORT, report)
    print(f"{output}: metrics.csv, metrics.json, {REPORT}")


def _methods(predictions: Sequence[Path]) -> list[str]:
    single = ["prediction"] if len(predictions) == 1 else None
    names = _METHOD.value or single or [path.name for path in predictions]
    if len(names) != len(predictions) or len(set(names)) < len(names):
        raise InputError(
            f"There are {len(predictions)} predictions and the methods {', '.join(names)}: give "
            "each prediction its own --method."
        )
    if _SPREAD.value and len(predictions) > 1:
        raise InputError("--spread belongs to one method: give one --prediction with it.")
    if _DRAWS.value and len(_DRAWS.value) != len(predictions):
        raise InputError("--draws: give a folder for each --prediction, in the same order.")
    if _DRAWS.value and _SPREAD.value:
        raise InputError("--spread: leave it out, the draws tell it.")
    return names


def _exports(cases: Sequence) -> dict[str, tuple]:
    """Every case with its structures, after refusing what the export would refuse late."""
    from sde_ct.evaluation import dose

    place, structures = Path(_EXPORT.value), _STRUCTURES.value and Path(_STRUCTURES.value)
    if len(_PREDICTION.value) > 1:
        raise InputError("--export-dose belongs to one method: give one --prediction with it.")
    for case in cases:
        if (place / case.name).exists():
            raise InputError(f"{place / case.name} exists: choose another --export-dose.")
    return {case.name: (case, dose.structures_of(structures, case.name)) for case in cases}


def _gamma() -> list:
    from sde_ct.evaluation import dose

    if len(_GAMMA.value) != 2:
        raise InputError("--gamma: give two dose grids, REFERENCE,EVALUATED.")
    return dose.gamma_of_files(*map(Path, _GAMMA.value))


def _bar(cases: Sequence, method: str) -> Iterable:
    return bar(cases, desc=method, unit="case")


def _mask_of(case) -> str:
    """Where the body comes from."""
    if _MASK.value:
        return "given"
    return "beside the reference CT" if case.mask else "computed from the reference CT"


def _tell(refused: Mapping[str, Sequence]) -> None:
    """Name every refused case once, those of one reason together."""
    for method, names, reason in _by_reason(_record(refused, ())):
        print(f"refused ({method}) {names}: {reason}", file=sys.stderr)


def _by_reason(refused: Sequence[dict]) -> list[tuple[str, str, str]]:
    """Method, cases and reason, once for all cases of one reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in refused:
        found.setdefault((one["method"], one["reason"]), []).append(one["case"])
    return [(method, ", ".join(cases), reason) for (method, reason), cases in found.items()]


def _nothing_left(refused: Mapping[str, Sequence]) -> str:
    reasons = [case.reason for cases in refused.values() for case in cases]
    return reasons[0] if len(reasons) == 1 else f"No case is left to evaluate: {reasons[0]}"


def _record(refused: Mapping[str, Sequence], places: Sequence[Path]) -> list[dict]:
    """The refusals for metrics.json, which must not depend on where the folders lie."""

    def local(reason: str) -> str:
        for place in sorted(places, key=lambda path: -len(str(path))):
            if place.name and place.parent != Path():  # "." and "/" name no folder
                reason = reason.replace(str(place), place.name)
        return reason

    return [
        {"case": case.case, "method": method, "reason": local(case.reason)}
        for method, cases in refused.items()
        for case in cases
    ]


if __name__ == "__main__":
    run(main)
