"""Prepare patients' images as a data set, with a report and a picture of each patient.

    python launch/prepare.py --source=synthrad2023 --input=Task1/pelvis --output=data/pelvis \\
        --spacing=1 --size=384
    python launch/prepare.py --source=pairs --input=patients --output=data/own \\
        --mr='t2*.nii.gz' --ct='CT_on_T2'
    python launch/prepare.py --source=pairs --input=patients --output=data/two \\
        --mr='t2*' --mr='t1*' --ct='CT_on_T2'
    python launch/prepare.py --source=gold_atlas --input=GoldAtlas --output=data/gold_atlas \\
        --split=literature --spacing=0.875 --size=512 --crop_to_body
    python launch/prepare.py --source=phantom --input=out/phantoms --output=data/phantoms

An unusable patient is refused with a reason and the others are prepared; the exit status is then 2.
Run the same command again to prepare missing patients, for example after an interruption or when a
patient was added to the input folder. Patients stay in the part of the split that was drawn first.
"""

import os
from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar, say
from sde_ct.runtime.cli import run

SOURCE = flags.DEFINE_string(
    "source",
    None,
    "Layout of the input folder: synthrad2023, synthrad2025, gold_atlas, nnunet, pairs or phantom.",
    required=True,
)
INPUT = flags.DEFINE_string("input", None, "Folder of the patients.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write, or to complete.", required=True)
SPACING = flags.DEFINE_list(
    "spacing", [], "In-plane pixel size in mm, one number or y,x; default: as scanned."
)
SIZE = flags.DEFINE_list("size", [], "Pixels per slice, one number or h,w; default: as scanned.")
CROP_TO_BODY = flags.DEFINE_boolean(
    "crop_to_body", False, "Centre the slices of --size on the body."
)
MR = flags.DEFINE_multi_string(
    "mr", ["mr*"], "Glob of the MR in a patient's folder (pairs); repeat it for each contrast."
)
CT = flags.DEFINE_string("ct", "ct*", "Glob of the CT in a patient's folder (pairs).")
MASK = flags.DEFINE_string(
    "mask", "", "Glob of the mask in which CTs are evaluated (pairs); default: the body."
)
CHOOSE = flags.DEFINE_multi_string(
    "choose", [], "Choose one volume of an MR series by a DICOM tag, as in EchoTime=100 (pairs)."
)
VALIDATION = flags.DEFINE_string("validation", "0.1", "Fraction of patients, or names as in a,b.")
TEST = flags.DEFINE_string("test", "0.2", "Fraction of patients, or names as in a,b.")
SPLIT = flags.DEFINE_enum(
    "split",
    "",
    ["", "literature"],
    "The common split of Gold Atlas: without site 3, testing on 1_03, 1_06, 2_04 and 2_11.",
)
SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Seed of the split of patients.", lower_bound=0)
REGISTER = flags.DEFINE_enum(
    "register",
    None,
    ["rigid", "deformable"],
    "Register every CT to its MR, except the CTs of Gold Atlas that are deformed onto their MRs.",
)
N4 = flags.DEFINE_boolean(
    "n4", False, "Correct the bias field of every MR by N4, in later syntheses too."
)
T1 = flags.DEFINE_boolean(
    "t1", False, "Write the T1, resampled to the T2's grid, as NIfTI too (gold_atlas)."
)
WORKERS = flags.DEFINE_integer(
    "workers",
    None,
    "Number of processes; default: one per core, but at most one per two patients.",
    lower_bound=1,
    upper_bound=1024,
)
PATIENTS = flags.DEFINE_integer(
    "patients",
    None,
    "Number of phantoms; those missing in --input are generated. Default: 8, or all that --input "
    "holds if these are more (phantom).",
)
PHANTOM_SEED = flags.DEFINE_integer("phantom_seed", 0, "Seed of the phantoms.", lower_bound=0)

# Flags that only one source reads.
OF_SOURCE = {
    "pairs": (MR, CT, MASK, CHOOSE),
    "gold_atlas": (T1,),
    "phantom": (PATIENTS, PHANTOM_SEED),
}


def main() -> None:
    from sde_ct.data.preparation.output import (
        require_all,
        require_apart,
        require_images,
        sides,
    )
    from sde_ct.data.preparation.prepare import prepare
    from sde_ct.data.sources.gold_atlas import literature_split
    from sde_ct.data.split import parse_share, split_patients

    _require_effect()
    output = Path(OUTPUT.value)
    require_images(Path(INPUT.value))
    require_apart(output, Path(INPUT.value))
    cases, left_out, test = _cases(), [], TEST.value
    if SPLIT.value == "literature":
        left_out, named = literature_split([case.id for case in cases])
        cases, test = [case for case in cases if case.id not in left_out], ",".join(named)
    names = [case.id for case in cases]
    require_all(output, names)
    draw = partial(
        split_patients,
        names,
        validation=parse_share(VALIDATION.value, names),
        test=parse_share(test, names),
        seed=SPLIT_SEED.value,
    )
    split = draw(before=sides(output))
    if split != draw():
        print(
            f"{output} keeps the split of its patients: fractions and seed apply only to new ones"
        )
    if left_out:
        print(f"left out by --split={SPLIT.value}: {', '.join(left_out)}")
    prepared = prepare(
        cases,
        output,
        source=SOURCE.value,
        split=split,
        spacing=_pair("spacing", SPACING.value, float, "y,x"),
        size=_pair("size", SIZE.value, int, "h,w"),
        crop_to_body=CROP_TO_BODY.value,
        register=REGISTER.value,
        n4=N4.value,
        pictures=True,
        # Starting a process takes as long as preparing a small patient.
        workers=WORKERS.value or max(1, min(os.cpu_count() or 1, len(cases) // 2)),
        progress=lambda outcomes, total: bar(
            outcomes, desc="prepare", unit="patient", total=total, disable=not total
        ),
        report=say,
    )
    print(f"{output}: {len(prepared.cases)} of {len(cases)} patients; report.json, qc/")
    if refused := [case.id for case in cases if case.id not in prepared.cases]:
        raise InputError(
            f"{len(refused)} of {len(cases)} patients were refused, and the others are prepared: "
            f"{', '.join(refused)}."
        )


def _require_effect() -> None:
    """Raise InputError for a flag that would have no effect."""
    for source, given in OF_SOURCE.items():
        for flag in given:
            if flag.present and source != SOURCE.value:
                raise InputError(f"--{flag.name} works only with --source={source}: leave it out")
    if CHOOSE.value and len(MR.value) > 1:
        raise InputError("--choose is for one MR contrast: give one --mr")
    if SPLIT.value and TEST.present:
        raise InputError(f"--split={SPLIT.value} determines the test patients: leave out --test")


def _cases() -> list:
    from sde_ct.data.sources.cohorts import Patterns, find_cases
    from sde_ct.lab.phantom.cohort import phantom_cases
    from sde_ct.volumes.dicom.choice import parse_choices

    if SOURCE.value == "phantom":
        progress = partial(bar, desc="phantoms", unit="patient")
        return phantom_cases(INPUT.value, PATIENTS.value, PHANTOM_SEED.value, progress=progress)
    patterns = Patterns(
        MR.value[0], CT.value, MASK.value, tuple(MR.value[1:]), parse_choices(CHOOSE.value)
    )
    return find_cases(SOURCE.value, INPUT.value, patterns, t1=T1.value)


def _pair(name: str, texts: list[str], number: type, order: str) -> tuple | None:
    try:
        values = tuple(number(text) for text in texts)
    except ValueError:
        values = ()
    if texts and len(values) not in (1, 2):
        raise InputError(f"--{name}={','.join(texts)}: give one number, or two as {order}")
    return (values * 2)[:2] if values else None


if __name__ == "__main__":
    run(main)
