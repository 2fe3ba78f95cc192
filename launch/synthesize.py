"""Synthesize the CT of MR volumes: mean and spread on each MR's own grid, int16 HU.

    python launch/synthesize.py --workdir=runs/score --mr=patient/mr.nii.gz --output=out \\
        --sampler=ode --draws=10 --seed=0

writes out/sct/NAME.nii.gz and, for two draws or more, out/sct_std/NAME.nii.gz; out/NAME.json says
how they came about. --mr takes NIfTI, MetaImage, or a DICOM series: its folder, or one of its
files where the folder holds several. --dicom adds out/dicom/NAME/sct/ and out/dicom/NAME/sct_std/,
CT series that join the MR's study.

Several networks, trained from different seeds: give --workdir several times. They share the draws
between them; out/sct_std_within/ holds what they leave open together, out/sct_std_between/ where
they disagree.

--calibrated applies calibration.json of the work directory (launch/calibrate.py): out/sct_std/ is
then corrected, and out/sct_lower/ and out/sct_upper/ bound every voxel; the coverage that
out/NAME.json states is that of voxels of the body.

Many volumes: give --mr several times, a folder of files or of DICOM series, or a pattern such as
'cohort/*/mr.nii.gz'. A volume that cannot be used is refused with its reason and the others go on;
the status is then 2. The same command again does only what is missing, and refuses results that
were changed since.

Several processes share the volumes: under SLURM's `srun` and on a TPU pod they find each other;
elsewhere give each --coordinator=HOST:PORT --processes=N --process=I.

NAME is the file's, or its folder's where the file is called mr.nii.gz as in SynthRAD, or the DICOM
folder's; where that tells the patient's name, it is made of the voxels.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from absl import flags

from sde_ct.config import LARGEST_SEED
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar, say
from sde_ct.runtime.cli import run

WORKDIR = flags.DEFINE_multi_string("workdir", None, "Where a network was trained.", required=True)
MR = flags.DEFINE_multi_string("mr", None, "The MRs: files, folders, patterns.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
SAMPLER = flags.DEFINE_string(
    "sampler",
    None,
    "For a diffusion network: ddpm, em, pc, ode, ddim, dpm, dpm_sde or heun.",
)
DRAWS = flags.DEFINE_integer(
    "draws", None, "Monte-Carlo draws of all networks: 10, or 1 of each CNN or GAN."
)
EVALUATIONS = flags.DEFINE_integer("evaluations", None, "Network evaluations a draw; the recipe's.")
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=LARGEST_SEED
)
BATCH = flags.DEFINE_integer(
    "batch", None, "Slices a device at once; what its memory holds if not given.", lower_bound=1
)
MASK = flags.DEFINE_string(
    "mask", None, "Body mask on the MR's grid, or a folder of them by NAME; computed if not given."
)
SAVE_DRAWS = flags.DEFINE_bool("save_draws", False, "Write every draw to OUTPUT/draws too.")
CALIBRATED = flags.DEFINE_bool("calibrated", False, "Correct the spread, and write intervals.")
DICOM = flags.DEFINE_bool("dicom", False, "Write CT series to OUTPUT/dicom too.")
CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "best", ["best", "newest"], "Best by validation loss, or the newest."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, if there are more.")
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes share the volumes.")
PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
PATIENCE = 7 * 24 * 3600  # seconds that a process that is done waits for the slowest


class Refused(NamedTuple):
    """A volume that could not be synthesized, one `of` so many."""

    name: str
    error: InputError
    of: int


def main() -> None:
    from sde_ct.runtime import parallel, peers

    parallel.set_up()
    with peers.together(COORDINATOR.value, PROCESSES.value, PROCESS.value, PATIENCE):
        refused = _all()
    # Told when the processes have parted: a volume of one is no trouble of the others.
    if len(refused) == 1 and refused[0].of == 1:
        raise refused[0].error
    if refused:
        raise InputError(
            f"{len(refused)} of {refused[0].of} volumes were refused, the others are done: "
            f"{', '.join(one.name for one in refused)}."
        )


def _all() -> list[Refused]:
    """Synthesize this process's share of the volumes; what could not be."""
    import jax

    from sde_ct.synthesis.job import Job, Request
    from sde_ct.synthesis.sources import find_sources

    job = Job(
        Request(
            workdirs=tuple(WORKDIR.value),
            output=Path(OUTPUT.value),
            sampler=SAMPLER.value,
            draws=DRAWS.value,
            evaluations=EVALUATIONS.value,
            seed=SEED.value,
            batch=BATCH.value,
            mask=Path(MASK.value) if MASK.value else None,
            calibrated=CALIBRATED.value,
            each=SAVE_DRAWS.value,
            dicom=DICOM.value,
            checkpoint=CHECKPOINT.value,
        )
    )
    for line in job.lines():
        say(line)
    sources = find_sources(MR.value)
    if MASK.value and len(sources) > 1 and not Path(MASK.value).is_dir():
        raise InputError(f"--mask={MASK.value} is one mask for {len(sources)} MRs: give a folder.")
    mine, refused = sources[jax.process_index() :: jax.process_count()], []
    for source in bar(mine, unit="volume", disable=len(mine) == 1):
        try:
            done = job(source)
        except InputError as error:
            if len(mine) > 1:
                say(f"refused: {error}", file=sys.stderr)
            refused.append(Refused(source.name, error, len(mine)))
            continue
        for warning in done.warnings:
            say(f"warning: {done.name}: {warning}", file=sys.stderr)
        for line in (*(f"note: {note}" for note in done.notes), done.sentence):
            say(line)
    return refused


if __name__ == "__main__":
    run(main)
