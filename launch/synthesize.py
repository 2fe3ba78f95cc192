"""Synthesize CTs of MR volumes: mean and spread on each MR's own grid, int16 HU.

    python launch/synthesize.py --workdir=runs/score --mr=patient/mr.nii.gz --output=out \\
        --sampler=ode --draws=10 --seed=0

This writes out/sct/NAME.nii.gz and, for two draws or more, out/sct_std/NAME.nii.gz. The sidecar
out/NAME.json records how the outputs were made. --mr takes a NIfTI, a MetaImage or a DICOM series:
its folder, or one of its files if the folder holds several series. --dicom adds a CT series,
out/dicom/NAME/sct/, and Parametric Maps, out/dicom/NAME/sct_std.dcm and so on, which join the MR's
study. For a NIfTI or MetaImage made from a DICOM series, --study=FOLDER names the series.
--dicom_axial adds straight axial slices, out/dicom/NAME/sct_axial/, for planning systems that
refuse tilted ones. --sampler=mean writes the regression of a network, without a spread.

For several networks, trained from different seeds, repeat --workdir. The draws are divided equally
among the networks. out/sct_std_within/ holds the spread of the draws of one network, and
out/sct_std_between/ holds the disagreement of the networks.

--calibrated applies calibration.json of the work directory (launch/calibrate.py): out/sct_std/ is
corrected, and out/sct_lower/ and out/sct_upper/ hold bounds of every voxel. out/NAME.json states
their coverage, which holds for voxels of the body.

--rays=0,90 --target=FILE measures water-equivalent path lengths (mm) from these gantry angles to a
target on the MR's grid. The table is printed and written to out/rays/NAME.csv, with all rays in
NAME.json and a picture in NAME.png. --structures=DIR measures the mean HU of the structures in
DIR/NAME/, masks or RTSTRUCT files, and writes out/structures/NAME.json. With --calibrated, the
intervals of both are those that launch/calibrate.py fitted.

--accept judges each CT (see launch/accept.py). The verdict, PASS or REVIEW with reasons, is also
written to the descriptions of the CT series. The exit status is 3 if a CT must be reviewed.

For many volumes, repeat --mr, or give a folder of files or DICOM series, or a pattern such as
'cohort/*/mr.nii.gz'. A volume that cannot be used is refused with its reason while the others are
synthesized; the exit status is then 2. Run the same command again to make only missing outputs.
Outputs that match the sidecar's hash are kept, and outputs that were changed are refused.

A network of several MR contrasts needs one --mr for each, such as --mr=t2=a/t2.nii.gz
--mr=t1=a/t1.nii.gz, or only the paths, in the order of the training. For many patients give
patterns; images in one folder, or with nnU-Net's names X_0000 and X_0001, belong together.

Several processes share the volumes. Under SLURM's `srun` and on a TPU pod they find each other;
elsewhere give each process --coordinator=HOST:PORT --processes=N --process=I.

NAME is the name of the file, of its folder if the file is called mr.nii.gz as in SynthRAD, or of
the DICOM folder. If this name contains the PatientName of a DICOM series, NAME is a hash of the
voxels.
"""

import sys
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED, SAMPLER_NAMES
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar, say
from sde_ct.runtime.cli import run

WORKDIR = flags.DEFINE_multi_string("workdir", None, "Folder of a training.", required=True)
MR = flags.DEFINE_multi_string("mr", None, "The MRs: files, folders or patterns.", required=True)
CHOOSE = flags.DEFINE_multi_string(
    "choose", [], "Choose one volume of a series by a DICOM tag, as EchoTime=100; may be repeated."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
SAMPLER = flags.DEFINE_string(
    "sampler",
    None,
    f"Sampler of a diffusion, residual or joint network: {', '.join(SAMPLER_NAMES)}; or mean, for "
    "the regression of a residual, joint or distilled network, which has no spread.",
)
DRAWS = flags.DEFINE_integer(
    "draws",
    None,
    "Draws of all networks together; default: 10 or more, or 1 of each if draws do not differ.",
)
EVALUATIONS = flags.DEFINE_integer(
    "evaluations",
    None,
    "Network evaluations of the sampler per draw, besides those of a regression, which all draws "
    "share; default: as in the recipe.",
)
SDE = flags.DEFINE_enum(
    "sde",
    None,
    ["vp", "ve"],
    "SDE that the sampler follows, for a network of the form edm; default: that of the training.",
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, LARGEST_SEED)
BATCH = flags.DEFINE_integer(
    "batch", None, "Slices per device; default: as many as its memory holds.", lower_bound=1
)
MASK = flags.DEFINE_string(
    "mask",
    None,
    "Region in which the spread is checked for collapse: a mask on the MR's grid, an RTSTRUCT "
    "file, or a folder of masks by NAME. Default: the body in the MR.",
)
SAVE_DRAWS = flags.DEFINE_bool("save_draws", False, "Write every draw to OUTPUT/draws too.")
CALIBRATED = flags.DEFINE_bool("calibrated", False, "Correct the spread and write intervals.")
DICOM = flags.DEFINE_bool("dicom", False, "Write a CT series and maps to OUTPUT/dicom too.")
PATIENT_ID = flags.DEFINE_string(
    "patient_id", "", "PatientID of the CT series, if the MR has none or is not DICOM."
)
STUDY = flags.DEFINE_string(
    "study", None, "Folder of the DICOM series whose study the CT joins, if --mr is not DICOM."
)
AXIAL = flags.DEFINE_bool(
    "dicom_axial", False, "As --dicom, and also write a CT series in straight axial slices."
)
RAYS = flags.DEFINE_list(
    "rays",
    [],
    "Gantry angles in degrees (IEC 61217, couch at 0) of rays whose path lengths are measured.",
)
TARGET = flags.DEFINE_string(
    "target",
    None,
    "Target of the rays: a mask on the MR's grid, RTSTRUCT[:ROI], or a folder of either by NAME.",
)
STOPPING_POWER = flags.DEFINE_string(
    "stopping_power",
    None,
    "Proton stopping power by HU: pyradplan (the default), matrad, or a CSV file of HU,RSP.",
)
STRUCTURES = flags.DEFINE_string(
    "structures",
    None,
    "Folder that holds, for each MR, a folder NAME of structures whose mean HU is measured.",
)
ACCEPT = flags.DEFINE_bool("accept", False, "Say whether each CT passes or must be reviewed.")
RANGE_LIMIT = flags.DEFINE_float(
    "range_limit", None, "--accept: widest interval of a path length that passes, mm.", 0.001
)
CHECKPOINT = flags.DEFINE_enum(
    "checkpoint",
    "best",
    ["best", "newest"],
    "The best checkpoint by validation loss, or the newest.",
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0, if there are several processes."
)
PROCESSES = flags.DEFINE_integer("processes", None, "How many processes share the volumes.")
PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
REVIEWED = 3  # exit status if a CT must be reviewed
PATIENCE = 7 * 24 * 3600  # seconds that a finished process waits for the others


def main() -> int:
    from sde_ct.runtime import parallel, peers

    parallel.set_up()
    with peers.together(COORDINATOR.value, PROCESSES.value, PROCESS.value, PATIENCE):
        refused, total, passed = _synthesize()
    # A refused volume must not end the other processes, so it is raised after disconnecting.
    if refused and total == 1:
        raise next(iter(refused.values()))
    if refused:
        raise InputError(
            f"{len(refused)} of {total} volumes were refused, and the others are done: "
            f"{', '.join(refused)}."
        )
    return 0 if passed else REVIEWED


def _synthesize() -> tuple[dict[str, InputError], int, bool]:
    """Synthesize this process's share of the volumes.

    Returns the refused volumes of this share with their errors, the number of volumes in the share,
    and whether no verdict asks for a review.
    """
    import jax

    from sde_ct.report.later import save_fan, save_page
    from sde_ct.synthesis.contrasts import find_contrasts
    from sde_ct.synthesis.job import Job
    from sde_ct.synthesis.request import AcceptRequest, RayRequest, Request
    from sde_ct.uncertainty.ray_plan import plan_of_flags
    from sde_ct.volumes.dicom.choice import parse_choices

    dicom = DICOM.value or AXIAL.value
    for flag in (STUDY, PATIENT_ID):
        if flag.value and not dicom:
            raise InputError(f"--{flag.name} affects only DICOM outputs: add --dicom.")
    if len(PATIENT_ID.value) > 64 or "\\" in PATIENT_ID.value:  # the limits of the VR LO
        raise InputError(
            "--patient_id is too long or has a backslash: give up to 64 characters without one."
        )
    if RANGE_LIMIT.value is not None and not (ACCEPT.value and RAYS.value):
        raise InputError("--range_limit judges path lengths: add --accept and --rays.")
    choices = parse_choices(CHOOSE.value)
    plan = plan_of_flags(RAYS.value, STOPPING_POWER.value, target=TARGET.value)
    request = Request(
        workdirs=tuple(WORKDIR.value),
        output=Path(OUTPUT.value),
        sampler=SAMPLER.value,
        draws=DRAWS.value,
        evaluations=EVALUATIONS.value,
        sde=SDE.value,
        seed=SEED.value,
        batch=BATCH.value,
        mask=Path(MASK.value) if MASK.value else None,
        calibrated=CALIBRATED.value,
        each=SAVE_DRAWS.value,
        dicom=dicom,
        axial=AXIAL.value,
        choices=choices,
        patient_id=PATIENT_ID.value.strip(),
        study=Path(STUDY.value) if STUDY.value else None,
        checkpoint=CHECKPOINT.value,
        rays=RayRequest(plan, TARGET.value, save_fan) if plan else None,
        structures=Path(STRUCTURES.value) if STRUCTURES.value else None,
        accept=AcceptRequest(RANGE_LIMIT.value, save_page) if ACCEPT.value else None,
    )
    job = Job(request)
    for line in job.lines():
        say(line)
    sources = find_contrasts(MR.value, job.contrasts, choices, Path(OUTPUT.value))
    request.require_fitting(sources)
    mine = sources[jax.process_index() :: jax.process_count()]
    refused, passed = {}, True
    for source in bar(mine, unit="volume", disable=len(mine) == 1):
        try:
            done = job(source)
        except InputError as error:
            if len(mine) > 1:
                say(f"refused: {error}", file=sys.stderr)
            refused[source.name] = error
            continue
        passed &= done.passed
        for warning in done.warnings:
            say(f"warning: {done.name}: {warning}", file=sys.stderr)
        for line in (*(f"note: {note}" for note in done.notes), done.sentence, *done.lines):
            say(line)
    return refused, len(mine), passed


if __name__ == "__main__":
    run(main)
