"""Patients' images -> a prepared data set, with a report and a picture of each patient.

    python launch/prepare.py --source=synthrad2023 --input=Task1/pelvis --output=data/pelvis \\
        --spacing=1 --size=384
    python launch/prepare.py --source=pairs --input=patients --output=data/own \\
        --mr='t2*.nii.gz' --ct='CT_on_T2'
    python launch/prepare.py --source=phantom --input=out/phantoms --output=data/phantoms

A patient that cannot be used is refused with its reason and the rest goes on. The same command
again does what is missing: after an interruption, a mended file, a patient added.
"""

import os
from functools import partial

from absl import flags
from tqdm import tqdm

from sde_ct.cli import run
from sde_ct.data.cohorts import SOURCES, Patterns, find_cases, phantom_cases
from sde_ct.data.patient import Source
from sde_ct.data.prepare import prepare
from sde_ct.data.split import parse_share, split_patients
from sde_ct.errors import InputError

SOURCE = flags.DEFINE_enum("source", None, SOURCES, "Layout of the input folder.", required=True)
INPUT = flags.DEFINE_string("input", None, "Folder of the patients.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write, or to go on with.", required=True)
SPACING = flags.DEFINE_list("spacing", [], "In-plane mm, one number or y,x; default: as scanned.")
SIZE = flags.DEFINE_list("size", [], "Pixels a slice, one number or h,w; default: as scanned.")
CROP_TO_BODY = flags.DEFINE_boolean("crop_to_body", False, "Cut --size about the body's middle.")
MR = flags.DEFINE_string("mr", Patterns.mr, "Glob of the MR in a patient's folder (pairs).")
CT = flags.DEFINE_string("ct", Patterns.ct, "Glob of the CT in a patient's folder (pairs).")
MASK = flags.DEFINE_string("mask", "", "Glob of the body mask (pairs); empty: computed.")
VALIDATION = flags.DEFINE_string("validation", "0.1", "Fraction of patients, or names: a,b.")
TEST = flags.DEFINE_string("test", "0.2", "Fraction of patients, or names: a,b.")
SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Seed of the split by patient.", lower_bound=0)
WORKERS = flags.DEFINE_integer(
    "workers", None, "Processes; default: one a core, for two patients each.", lower_bound=1
)
PATIENTS = flags.DEFINE_integer("patients", 8, "Phantoms to generate in --input, if absent.")
PHANTOM_SEED = flags.DEFINE_integer("phantom_seed", 0, "Seed of the phantoms.", lower_bound=0)


def main() -> None:
    cases = _cases()
    names = [case.id for case in cases]
    split = split_patients(
        names,
        validation=parse_share(VALIDATION.value, names),
        test=parse_share(TEST.value, names),
        seed=SPLIT_SEED.value,
    )
    prepared = prepare(
        cases,
        OUTPUT.value,
        source=SOURCE.value,
        split=split,
        spacing=_pair("spacing", SPACING.value, float),
        size=_pair("size", SIZE.value, int),
        crop_to_body=CROP_TO_BODY.value,
        pictures=True,
        # Starting a process costs as much as a small patient.
        workers=WORKERS.value or max(1, min(os.cpu_count() or 1, len(cases) // 2)),
        progress=lambda outcomes, total: tqdm(
            outcomes, desc="prepare", unit="patient", total=total, disable=not total
        ),
        report=tqdm.write,
    )
    print(f"{OUTPUT.value}: {len(prepared.cases)} of {len(cases)} patients; report.json, qc/")


def _cases() -> list[Source]:
    if SOURCE.value == "phantom":
        bar = partial(tqdm, desc="phantoms", unit="patient")
        return phantom_cases(INPUT.value, PATIENTS.value, PHANTOM_SEED.value, progress=bar)
    return find_cases(SOURCE.value, INPUT.value, Patterns(MR.value, CT.value, MASK.value))


def _pair(name: str, texts: list[str], number: type) -> tuple | None:
    try:
        values = tuple(number(text) for text in texts)
    except ValueError:
        values = ()
    if texts and len(values) not in (1, 2):
        raise InputError(f"--{name}={','.join(texts)}: give one number, or two as y,x")
    return (values * 2)[:2] if values else None


if __name__ == "__main__":
    run(main)
