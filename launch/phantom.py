"""A cohort of pelvis phantoms to try everything on, as a hospital or a challenge would give it.

    python launch/phantom.py --layout=gold_atlas --output=out/atlas --patients=7
    python launch/phantom.py --layout=synthrad2023 --output=out/phantoms --patients=8

`gold_atlas` is DICOM, eight series a patient with their quirks; `synthrad2023` is NIfTI. Patients
that are there already stay as they are.
"""

from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

LAYOUTS = ["gold_atlas", "synthrad2023"]
LAYOUT = flags.DEFINE_enum("layout", None, LAYOUTS, "Files and folders.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder of the cohort.", required=True)
PATIENTS = flags.DEFINE_integer("patients", 7, "How many.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Of everything random.", lower_bound=0)
SHAPE = flags.DEFINE_list("shape", [], "Voxels x,y,z of the MR; default: small.")
SPACING = flags.DEFINE_list("spacing", [], "Their size, mm.")


def main() -> None:
    from sde_ct.lab.phantom import gold_atlas, pelvis

    default = gold_atlas if LAYOUT.value == "gold_atlas" else pelvis
    options = {
        "shape": _three("shape", SHAPE.value, int) or default.SHAPE,
        "spacing": _three("spacing", SPACING.value, float) or default.SPACING,
        "progress": partial(bar, desc="phantoms", unit="patient"),
    }
    output = Path(OUTPUT.value)
    if LAYOUT.value == "synthrad2023":
        written = pelvis.write_cohort(output, PATIENTS.value, SEED.value, **options)
    else:
        names = gold_atlas.PATIENTS[: PATIENTS.value]
        if len(names) < PATIENTS.value:
            raise InputError(f"--patients={PATIENTS.value}: Gold Atlas has {len(names)} patients")
        written = gold_atlas.write_gold_atlas(output, SEED.value, patients=names, **options)
    print(f"{output}: {len(written)} patients")


def _three(name: str, texts: list[str], number: type) -> tuple | None:
    try:
        values = tuple(number(text) for text in texts)
    except ValueError:
        values = ()
    if texts and len(values) != 3:
        raise InputError(f"--{name}={','.join(texts)}: give three numbers, as x,y,z")
    return values or None


if __name__ == "__main__":
    run(main)
