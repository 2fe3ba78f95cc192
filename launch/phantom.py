"""Write a cohort of pelvis phantoms in the form that a hospital or a challenge would give.

    python launch/phantom.py --layout=gold_atlas --output=out/atlas --patients=7
    python launch/phantom.py --layout=synthrad2023 --output=out/phantoms --patients=8

`gold_atlas` is DICOM with eight series for each patient; `synthrad2023` is NIfTI. Existing patients
stay as they are. Scanner B has less T2 weighting, more noise and a less even coil than A.
"""

from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

LAYOUTS = ["gold_atlas", "synthrad2023"]
LAYOUT = flags.DEFINE_enum("layout", None, LAYOUTS, "Layout of files and folders.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the cohort.", required=True)
PATIENTS = flags.DEFINE_integer("patients", 7, "Number of patients.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Seed of all random numbers.", lower_bound=0)
SCANNER = flags.DEFINE_enum("scanner", "A", ["A", "B"], "MR scanner (synthrad2023).")
T1 = flags.DEFINE_bool("t1", False, "Write a T1-weighted MR too, t1.nii.gz (synthrad2023).")
SHAPE = flags.DEFINE_list("shape", [], "Voxels x,y,z of the MR; the default is a small volume.")
SPACING = flags.DEFINE_list("spacing", [], "Size of the voxels in mm, as x,y,z.")


def main() -> None:
    from sde_ct.lab.phantom import cohort, gold_atlas, pelvis

    default = gold_atlas if LAYOUT.value == "gold_atlas" else pelvis
    options = {
        "shape": _three("shape", SHAPE.value, int) or default.SHAPE,
        "spacing": _three("spacing", SPACING.value, float) or default.SPACING,
        "progress": partial(bar, desc="phantoms", unit="patient"),
    }
    output = Path(OUTPUT.value)
    if LAYOUT.value == "synthrad2023":
        written = cohort.write_cohort(
            output, PATIENTS.value, SEED.value, scanner=SCANNER.value, t1=T1.value, **options
        )
    else:
        for flag in (SCANNER, T1):
            if flag.present:
                raise InputError(
                    f"--{flag.name} works only with --layout=synthrad2023: leave it out."
                )
        names = gold_atlas.PATIENTS[: PATIENTS.value]
        if len(names) < PATIENTS.value:
            raise InputError(f"--patients={PATIENTS.value}: Gold Atlas has {len(names)} patients.")
        written = gold_atlas.write_gold_atlas(output, SEED.value, patients=names, **options)
    print(f"{output}: {len(written)} patients")


def _three(name: str, texts: list[str], number: type) -> tuple | None:
    try:
        values = tuple(number(text) for text in texts)
    except ValueError:
        values = ()
    if texts and len(values) != 3:
        raise InputError(f"--{name}={','.join(texts)}: give three numbers, as x,y,z.")
    return values or None


if __name__ == "__main__":
    run(main)
