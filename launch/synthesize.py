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
then corrected, and out/sct_lower/ and out/sct_upper/ bound every voxel with a stated coverage.

Many volumes: give --mr several times, a folder of files or of DICOM series, or a pattern such as
'cohort/*/mr.nii.gz'. A volume that cannot be used is refused with its reason and the others go on;
the status is then 2. The same command again does only what is missing.

Several processes share the volumes: under SLURM's `srun` and on a TPU pod they find each other;
elsewhere give each --coordinator=HOST:PORT --processes=N --process=I.

NAME is the file's, or its folder's where the file is called mr.nii.gz as in SynthRAD, or the DICOM
folder's; where that tells the patient's name, it is made of the voxels.
"""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags
from tqdm import tqdm

from sde_ct import parallel, peers
from sde_ct.cli import run
from sde_ct.data.dicom_identity import Identity, identity_of, new_identity
from sde_ct.data.files import Format, format_of, read_volume
from sde_ct.data.fingerprint import voxel_sha256
from sde_ct.data.volume import Volume
from sde_ct.errors import InputError
from sde_ct.evaluation.recalibration import Recalibration
from sde_ct.methods.sample import SAMPLERS
from sde_ct.synthesis import (
    DeepEnsemble,
    Synthesizer,
    Trained,
    account,
    calibrated,
    files,
    load,
    with_budget,
)
from sde_ct.synthesis.delivery import Delivery
from sde_ct.synthesis.ensemble import require_alike
from sde_ct.synthesis.sources import Source, find_mask, find_sources
from sde_ct.training.experiment import versions

WORKDIR = flags.DEFINE_multi_string("workdir", None, "Where a network was trained.", required=True)
MR = flags.DEFINE_multi_string("mr", None, "The MRs: files, folders, patterns.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
SAMPLER = flags.DEFINE_string("sampler", None, f"{', '.join(SAMPLERS)}; none for a CNN or GAN.")
DRAWS = flags.DEFINE_integer(
    "draws", None, "Monte-Carlo draws of all networks: 10, or 1 of each CNN or GAN."
)
EVALUATIONS = flags.DEFINE_integer("evaluations", None, "Network evaluations a draw; the recipe's.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)
MASK = flags.DEFINE_string(
    "mask", None, "Body mask on the MR's grid, or a folder of them by NAME; computed if not given."
)
SAVE_DRAWS = flags.DEFINE_bool("save_draws", False, "Write every draw to OUTPUT/draws too.")
CALIBRATED = flags.DEFINE_bool("calibrated", False, "Correct the spread, and write intervals.")
DICOM = flags.DEFINE_bool("dicom", False, "Write CT series to OUTPUT/dicom too.")
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
    networks = [load(Path(workdir)) for workdir in WORKDIR.value]
    if EVALUATIONS.value is not None:
        networks = [with_budget(one, SAMPLER.value, EVALUATIONS.value) for one in networks]
    draws = _draws(networks)
    correction = _correction(networks, draws)
    synthesize = _synthesizer(networks)
    synthesize.require_draws(draws)
    sources = find_sources(MR.value)
    if MASK.value and len(sources) > 1 and not Path(MASK.value).is_dir():
        raise InputError(f"--mask={MASK.value} is one mask for {len(sources)} MRs: give a folder.")
    asked = {
        "checkpoints": [account.checkpoint(one) for one in networks],
        "sampler": SAMPLER.value,
        "draws": draws,
        "seed": SEED.value,
        "calibrated": correction and correction.to_json(),
    }
    mine, refused = sources[jax.process_index() :: jax.process_count()], []
    for source in tqdm(mine, unit="volume", disable=len(mine) == 1):
        try:
            tqdm.write(_one(source, synthesize, correction, asked))
        except InputError as error:
            if len(mine) > 1:
                tqdm.write(f"refused: {error}", file=sys.stderr)
            refused.append(Refused(source.name, error, len(mine)))
    return refused


def _synthesizer(networks: Sequence[Trained]) -> Synthesizer | DeepEnsemble:
    if len(networks) > 1:
        require_alike(list(zip(WORKDIR.value, networks, strict=True)))
    members = [Synthesizer(one, SAMPLER.value) for one in networks]
    return DeepEnsemble(members) if len(members) > 1 else members[0]


def _draws(networks: Sequence[Trained]) -> int:
    """Those asked for; else about ten, as many of each network."""
    if DRAWS.value is not None:
        return DRAWS.value
    each = max(2, -(-10 // len(networks))) if networks[0].config.method == "diffusion" else 1
    return each * len(networks)


def _correction(networks: Sequence[Trained], draws: int) -> Recalibration | None:
    if not CALIBRATED.value:
        return None
    if len(networks) > 1:
        raise InputError(f"--calibrated takes one network, not {len(networks)}: leave it out.")
    if EVALUATIONS.value is not None:
        raise InputError("--calibrated holds for the recipe's steps: leave out --evaluations.")
    return calibrated.correction_for(Path(WORKDIR.value[0]), networks[0], SAMPLER.value, draws)


def _one(
    source: Source,
    synthesize: Synthesizer | DeepEnsemble,
    correction: Recalibration | None,
    asked: dict,
) -> str:
    """Synthesize one volume, unless that is done; the sentence on it."""
    kind, draws = format_of(source.path), asked["draws"]
    mr = read_volume(source.path, "a.u.")
    mask = read_volume(find_mask(Path(MASK.value), source), "mask") if MASK.value else None
    identity = identity_of(source.path) if kind == "DICOM" else new_identity(mr)
    name = _name(source, kind, mr, identity)
    request = {"case": name, **asked, "input": account.image(mr, kind, mask)}
    members, each = len(asked["checkpoints"]), SAVE_DRAWS.value
    wanted = {"draws": draws, "networks": members, "intervals": correction is not None}
    paths = files.outputs(name, **wanted, each=each, dicom=DICOM.value)
    delivery = Delivery(Path(OUTPUT.value), name, request, paths)
    if delivery.is_complete():
        return f"{name} is complete: nothing to do."
    options = {"draws": draws, "seed": SEED.value, "mask": mask}
    ct = synthesize(mr, case=name, **options, progress=partial(_slices, name, draws // members))
    if correction:
        ct = calibrated.apply(correction, ct)
    notes = identity.notes if DICOM.value else ()
    told = {
        "workdirs": WORKDIR.value,
        "evaluations": ct.evaluations,
        "versions": versions(),
        "warnings": [*ct.warnings, *notes],
    }
    series = identity if DICOM.value else None
    delivery.put(partial(files.write, name=name, ct=ct, each=each, dicom=series), told)
    for warning in ct.warnings:
        tqdm.write(f"warning: {name}: {warning}", file=sys.stderr)
    for note in notes:
        tqdm.write(f"note: {note}")
    if correction:
        tqdm.write(
            "The CT of a body voxel lies within the bounds with a probability of about "
            f"{correction.coverage:.0%}, for patients like those of the fit."
        )
    of = f" of {members} networks" if members > 1 else ""
    return (
        f"{delivery.folder / delivery.outputs[0]}: {ct.slices} slices, {draws} draws{of}, "
        f"{ct.evaluations:.0f} network evaluations and {ct.seconds:.2f} s a slice and draw."
    )


def _name(source: Source, kind: Format, mr: Volume, identity: Identity) -> str:
    """The case's name; never one that holds the patient's, which only DICOM tells."""
    if kind == "DICOM" and identity.named_in(source.name):
        return f"mr-{voxel_sha256(mr.array)[:12]}"
    return source.name


def _slices(name: str, draws: int, batches: range) -> Iterator[int]:
    """The batches, with a bar that counts the slices done."""
    depth = batches.stop // draws
    with tqdm(total=depth, desc=name, unit="slice", leave=False) as bar:
        for first in batches:
            yield first
            bar.update(min(depth, (first + batches.step) // draws) - bar.n)


if __name__ == "__main__":
    run(main)
