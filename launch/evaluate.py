"""Compare the synthetic CTs of this or any other method with real CTs.

This prints a table, and writes metrics.csv, metrics.json and report.html, a page that shows the
cases.

    python launch/evaluate.py --prediction=out/sct --reference=data/pelvis --output=out/scores
    python launch/evaluate.py --prediction=out/ours --prediction=out/theirs \\
        --reference=data/pelvis --protocol=synthrad2025 --output=out/scores

Predictions are `<case>.nii.gz`. References and masks are `<case>.nii.gz` or, in SynthRAD's layout,
`<case>/ct.nii.gz` and `<case>/mask.nii.gz` at any depth. `.nii`, `.mha` and `.mhd` are read too.
Each of these paths may be a single file. Several predictions are compared pair by pair on the same
patients.
--draws takes a folder of `<case>_00.nii.gz` and so on, or of folders `<case>`; uncertainty.json
then reports the calibration of the draws by tissue, how many draws are enough, and scores of sums
over voxels. With --structures=DIR it also holds the mean HU of the structures in DIR/<case>/.

--rays=0,90 --target=PATH compares the water-equivalent path lengths (mm) of the draws with those of
the real CT, from these gantry angles to a target on the CT's grid, and writes rays.csv and
rays.json.

--export-dose=DIR writes every evaluated case in the layout of matRad and pyRadPlan, with the masks
and the ROIs of RTSTRUCT files in --structures=DIR/<case>/. --gamma=REFERENCE,EVALUATED compares two
dose grids in Gy (RTDOSE, NIfTI or MetaImage; extra `dose`) and writes gamma.json.

A case that cannot be used (NaN, another grid, an empty mask, a missing file, no reference of its
name) is named on stderr and in metrics.json under `refused`. The others are evaluated, and the exit
status is 0. A case is evaluated with a warning, but not exported for dose, if its prediction or a
draw does not look like HU, or if the prediction is not the mean of the draws. If no case is left,
nothing is written and the status is 2. The same files and flags give the same bytes, wherever the
folders are.
"""

import sys
from pathlib import Path

from absl import flags

from sde_ct.errors import InputError
from sde_ct.evaluation.protocol_names import PROTOCOL_NAMES
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

_PREDICTION = flags.DEFINE_multi_string(
    "prediction", None, "Synthetic CTs: folder or file; repeat for each method."
)
_REFERENCE = flags.DEFINE_string("reference", None, "Real CTs: folder or file.")
_MASK = flags.DEFINE_string(
    "mask", None, "Body masks: folder or file. Default: beside the real CT, or computed from it."
)
_SPREAD = flags.DEFINE_string(
    "spread", None, "Standard deviations of the draws of a single method: folder or file."
)
_DRAWS = flags.DEFINE_multi_string(
    "draws",
    [],
    "Folder of the draws whose mean is the prediction; repeat for each method, with `none` for a "
    "method without draws.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder for metrics.csv, metrics.json, report.html and so on."
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "volume", PROTOCOL_NAMES, "Protocol of the scores, see docs/evaluation.md."
)
_Z_SLICES = flags.DEFINE_string("z_slices", ":", "Axial slices to evaluate, such as 1::2.")
_METHOD = flags.DEFINE_multi_string(
    "method", None, "Name of each prediction's row. Default: 'prediction', or the folders' names."
)
_EXPORT = flags.DEFINE_string(
    "export-dose", None, "Folder to write CT, synthetic CT and structures to, for dose engines."
)
_STRUCTURES = flags.DEFINE_string(
    "structures",
    None,
    "Folder that holds, for each case, a folder <case> of masks or RTSTRUCT files, for --draws and "
    "--export-dose.",
)
_RAYS = flags.DEFINE_list(
    "rays", [], "Gantry angles in degrees (IEC 61217, couch at 0) of rays, for --draws."
)
_TARGET = flags.DEFINE_string(
    "target", None, "Target of the rays: a mask, RTSTRUCT[:ROI], or a folder of either by case."
)
_STOPPING_POWER = flags.DEFINE_string(
    "stopping_power",
    None,
    "Proton stopping power by HU: pyradplan (the default), matrad, or a CSV file of HU,RSP.",
)
_GAMMA = flags.DEFINE_list(
    "gamma", [], "Two doses in Gy, REAL_CT,SYNTHETIC_CT, as RTDOSE, NIfTI or MetaImage."
)
flags.mark_flags_as_required(["prediction", "reference", "output"])

TISSUES = ("all", "air", "soft", "bone", "shown air", "shown soft", "shown bone")


def main() -> None:
    from sde_ct.data.dataset import parse_slices
    from sde_ct.evaluation import dose
    from sde_ct.evaluation.cases import evaluate_methods
    from sde_ct.evaluation.matching import match_cases
    from sde_ct.evaluation.planning import Planning
    from sde_ct.evaluation.protocols import PROTOCOLS
    from sde_ct.evaluation.reasons import by_reason, unmeasured, without_parents
    from sde_ct.evaluation.results import refuse_existing, write_figures, write_metrics
    from sde_ct.evaluation.table import summarise, text_table
    from sde_ct.report.html.report_file import NAME as REPORT
    from sde_ct.report.html.report_file import write_report
    from sde_ct.report.html.report_from_files import report_of
    from sde_ct.storage.whole import together
    from sde_ct.uncertainty import judgement, sum_tables
    from sde_ct.uncertainty.intervals import caveat
    from sde_ct.uncertainty.ray_plan import plan_of_flags

    output, protocol = Path(_OUTPUT.value), PROTOCOLS[_PROTOCOL.value]
    plan = plan_of_flags(_RAYS.value, _STOPPING_POWER.value, target=_TARGET.value)
    written = {judgement.NAME: any(_draws()), dose.NAME: _GAMMA.value, REPORT: True}
    written |= dict.fromkeys(sum_tables.NAMES, plan)
    refuse_existing(output, [name for name, wanted in written.items() if wanted])
    z_slices = parse_slices(_Z_SLICES.value or ":")
    methods = _methods()
    others = (_REFERENCE.value, _MASK.value, _SPREAD.value)
    reference, mask, spread = (Path(path) if path else None for path in others)
    draws = _draws() or [None] * len(methods)
    matched = {
        method: match_cases(prediction, reference, mask, spread, several)
        for (method, prediction), several in zip(methods.items(), draws, strict=True)
    }
    cases = [case for files in matched.values() for case in files.cases]
    structures = Path(_STRUCTURES.value) if _STRUCTURES.value else None
    planning = Planning(plan, _TARGET.value or "", structures)
    planning.require_files(cases)
    exports = {}
    if _EXPORT.value:
        exports, left_out = dose.plan_exports(Path(_EXPORT.value), structures, cases)
        print(*(f"not exported: {one}\n" for one in left_out), sep="", end="", file=sys.stderr)
    gamma = dose.gamma_of_files([Path(path) for path in _GAMMA.value]) if _GAMMA.value else []
    results = evaluate_methods(
        matched,
        protocol,
        z_slices,
        lambda cases, method: bar(cases, desc=method, unit="case"),
        further=planning,
    )
    refused = [
        {"case": case.case, "method": method, "reason": case.reason}
        for method, of_method in results.items()
        for case in of_method.refused
    ]
    doubts = [
        {"case": case, "method": method, "reason": reason}
        for method, of_method in results.items()
        for case, reason in of_method.doubts.items()
    ]
    for word, those in (("refused", refused), ("warning", doubts)):
        for method, names, reason in by_reason(those):
            print(f"{word} ({method}) {names}: {reason}", file=sys.stderr)
    rows = [row for of_method in results.values() for row in of_method.rows]
    if not rows:
        first = refused[0]["reason"]
        raise InputError(first if len(refused) == 1 else f"No case is left to evaluate: {first}")
    names = sorted({row.patient for row in rows})
    if exports:  # dose must not be computed on a CT that is not in HU
        doubtful = sorted({doubt["case"] for doubt in doubts})
        if doubtful:
            print(f"not exported for dose: {', '.join(doubtful)} (see warnings)", file=sys.stderr)
        safe = [exports[name] for name in names if name not in doubtful]
        left_out = dose.export_files(Path(_EXPORT.value), safe)
        print(*(f"not exported: {one}\n" for one in left_out), sep="", end="", file=sys.stderr)
    others = reference, mask, spread, *planning.places()
    places = [path for path in (*methods.values(), *others, *draws) if path]
    refused, doubts = (
        [one | {"reason": without_parents(one["reason"], places)} for one in those]
        for those in (refused, doubts)
    )
    settings = {"z_slices": _Z_SLICES.value, "masks": {c.name: _mask_of(c) for c in cases}}
    with together(output) as folder:
        write_metrics(folder, rows, protocol, settings, refused=refused, warnings=doubts)
        print(text_table(summarise(rows)), end="")
        written = ["metrics.csv", "metrics.json"]
        judged = {m: judgement.over_patients(of.judged) for m, of in results.items() if of.judged}
        if judged:
            written.append(judgement.NAME)
            write_figures(folder / judgement.NAME, judgement.record(judged))
            print("", *judgement.lines(judged, TISSUES), sep="\n")
            print("", *sum_tables.lines(judged), sep="\n")
        if plan:
            written += sum_tables.NAMES
            sum_tables.write_ranges(folder, judged)
            print("", *sum_tables.range_lines(judged), sep="\n")
        if gamma:
            written.append(dose.NAME)
            write_figures(folder / dose.NAME, dose.record(gamma))
            print(*dose.lines(gamma), sep="\n")
        warnings = [*filter(None, [caveat(len(names))]), *unmeasured(rows)]
        print(*(f"{warning}\n" for warning in warnings), sep="", end="")
        warnings += judgement.warnings(judged)
        warnings += [f"{m}, {cases}: {reason}" for m, cases, reason in by_reason(doubts)]
        warnings += [f"Left out of {m}: {cases}. {why}" for m, cases, why in by_reason(refused)]
        files = {method: of_method.cases for method, of_method in matched.items()}
        report = report_of(protocol, rows, files, judged, settings, warnings, planning.target_of)
        write_report(folder / REPORT, report)
    print(f"{output}: {', '.join(written)}, {REPORT}")


def _methods() -> dict[str, Path]:
    """The predictions by the names of their methods."""
    predictions = [Path(path) for path in _PREDICTION.value]
    single = ["prediction"] if len(predictions) == 1 else None
    names = _METHOD.value or single or [path.name for path in predictions]
    if len(names) != len(predictions) or len(set(names)) < len(names):
        raise InputError(
            f"There are {len(predictions)} predictions and the methods {', '.join(names)}: give "
            "each prediction its own --method."
        )
    if not all(name.strip() for name in names):
        raise InputError("--method is empty: give each prediction a name.")
    if _STRUCTURES.value and not (_EXPORT.value or any(_draws())):
        raise InputError("--structures works only with --draws or --export-dose: add one of them.")
    if _RAYS.value and not any(_draws()):
        raise InputError("--rays measures the draws: give --draws.")
    if _RAYS.value and _Z_SLICES.value != ":":
        raise InputError("--rays crosses all slices: leave out --z_slices.")
    for flag, value in (("spread", _SPREAD.value), ("export-dose", _EXPORT.value)):
        if value and len(predictions) > 1:
            raise InputError(f"--{flag} belongs to one method: give one --prediction with it.")
    if _DRAWS.value and len(_DRAWS.value) != len(predictions):
        raise InputError(
            "--draws: give a folder, or `none`, for each --prediction, in the same order."
        )
    if _DRAWS.value and _SPREAD.value:
        raise InputError("--spread: leave it out, because --draws give the spread.")
    return dict(zip(names, predictions, strict=True))


def _draws() -> list[Path | None]:
    """The folders of draws in the order of the predictions; empty without --draws."""
    return [None if path == "none" else Path(path) for path in _DRAWS.value]


def _mask_of(case) -> str:
    """Where the body mask of a case comes from."""
    if _MASK.value:
        return "given"
    return "beside the reference CT" if case.mask else "computed from the reference CT"


if __name__ == "__main__":
    run(main)
