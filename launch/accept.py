"""Judge synthetic CTs without real ones. The verdict is PASS, or REVIEW with reasons.

    python launch/accept.py --workdir=out/own/residual --data=out/own/data --sampler=dpm_sde --fit
    python launch/synthesize.py --workdir=out/own/residual --mr=mr.nii.gz --output=out/ct \\
        --sampler=dpm_sde --accept
    python launch/accept.py --workdir=out/own/residual --sct=out/ct

--fit synthesizes training and validation patients, and writes acceptance.json to the work
directory. The fit holds for this checkpoint, sampler, number of draws and number of evaluations.

--sct judges every volume of an output of launch/synthesize.py. It prints the verdict, and writes it
to the volume's sidecar NAME.json and to acceptance/NAME.html. The exit status is 0 if all pass, and
3 if one or more must be reviewed. With --range_limit=MM, a path length whose interval is wider than
MM also needs a review. --mr gives the MRs of volumes that were synthesized before the fit. A volume
that cannot be judged is refused with its reason while the others are judged; the exit status is
then 2.
"""

import sys
from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

REVIEWED = 3  # exit status
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training.", required=True)
SCT = flags.DEFINE_string("sct", None, "The --output of launch/synthesize.py that is to be judged.")
MR = flags.DEFINE_multi_string("mr", [], "The MRs of volumes that were synthesized before the fit.")
RANGE_LIMIT = flags.DEFINE_float(
    "range_limit",
    None,
    "Widest interval of a path length that passes, mm; default: the limit of the volume's last "
    "verdict, or none.",
    lower_bound=0.001,
)
FIT = flags.DEFINE_bool("fit", False, "Fit acceptance.json instead of judging.")
DATA = flags.DEFINE_string("data", None, "--fit: the prepared data of the training.")
SAMPLER = flags.DEFINE_string("sampler", None, "--fit: the sampler, as in launch/synthesize.py.")
DRAWS = flags.DEFINE_integer(
    "draws", None, "--fit: draws of each patient; default: 10, or 1 if draws do not differ.", 1
)
EVALUATIONS = flags.DEFINE_integer(
    "evaluations", None, "--fit: network evaluations of each draw, as in launch/synthesize.py."
)
SEED = flags.DEFINE_integer("seed", 0, "--fit: seed of the draws.", 0, LARGEST_SEED)
RATE = flags.DEFINE_float("rate", 0.05, "--fit: rate of false alarms over all reasons together.")
LEVEL = flags.DEFINE_float("level", 0.9, "--fit: share of patients with errors below the bound.")
MOST = flags.DEFINE_integer("patients", 40, "--fit: training patients to use at most.", 3)


def main() -> int:
    from sde_ct.runtime import parallel

    if FIT.value == bool(SCT.value):
        raise InputError("Give either --fit with --data, or --sct=OUTPUT to be judged.")
    parallel.set_up()
    return _fit() if FIT.value else _judge()


def _fit() -> int:
    from sde_ct.acceptance import reference
    from sde_ct.data.prepared import read_prepared
    from sde_ct.synthesis import load
    from sde_ct.synthesis.fitting import fit_acceptance
    from sde_ct.synthesis.trained import with_budget

    if not DATA.value:
        raise InputError("--fit needs --data: give the prepared data of the training.")
    for name, value in (("rate", RATE.value), ("level", LEVEL.value)):
        if not 0 < value < 1:
            raise InputError(f"--{name}={value}: give a share such as 0.05 or 0.9.")
    path = Path(WORKDIR.value) / reference.NAME
    if path.exists():
        raise InputError(f"{path} exists: remove it to fit again, or move it to keep both.")
    trained = with_budget(load(Path(WORKDIR.value)), SAMPLER.value, EVALUATIONS.value)
    fitted = fit_acceptance(
        trained,
        read_prepared(DATA.value),
        SAMPLER.value,
        draws=DRAWS.value or (10 if trained.draws_differ(SAMPLER.value) else 1),
        seed=SEED.value,
        rate=RATE.value,
        level=LEVEL.value,
        most=MOST.value,
        progress=partial(bar, desc="fit", unit="volume"),
    )
    reference.write(path, fitted)
    counts = fitted.patients
    print(
        f"{path}: fitted on {counts['train']} training and {counts['validation']} validation "
        "patients.",
        fitted.promise,
        sep="\n",
    )
    return 0


def _judge() -> int:
    from sde_ct.report.html.acceptance_page import save_page
    from sde_ct.synthesis.judged_files import JudgedFolder
    from sde_ct.synthesis.request import AcceptRequest

    asked = AcceptRequest(RANGE_LIMIT.value, save_page)
    judge = JudgedFolder(Path(WORKDIR.value), Path(SCT.value), MR.value, asked)
    refused, passed = dict(judge.refused), True
    total = len({*refused, *judge.names})
    for error in refused.values() if total > 1 else ():
        print(f"refused: {error}", file=sys.stderr)
    for name in judge.names:
        try:
            done = judge(name)
        except InputError as error:
            if total > 1:
                print(f"refused: {error}", file=sys.stderr)
            refused[name] = error
            continue
        passed &= done.passed
        for warning in done.warnings:
            print(f"warning: {name}: {warning}", file=sys.stderr)
        print(done.sentence, *done.lines, sep="\n")
    if refused and total == 1:
        raise next(iter(refused.values()))
    if refused:
        raise InputError(
            f"{len(refused)} of {total} inputs were refused ({', '.join(refused)}), and the other "
            "volumes are judged."
        )
    return 0 if passed else REVIEWED


if __name__ == "__main__":
    run(main)
