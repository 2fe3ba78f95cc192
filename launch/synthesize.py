"""Synthesize the CT of an MR volume: mean and spread on the MR's own grid, int16 HU.

    python launch/synthesize.py --workdir=runs/score --mr=patient/mr.nii.gz --output=out \\
        --sampler=ode --draws=10 --seed=0

writes out/sct/NAME.nii.gz and, for two draws or more, out/sct_std/NAME.nii.gz; out/NAME.json says
how they came about. --mr takes NIfTI, MetaImage, or a DICOM series: its folder, or one of its
files where the folder holds several. --dicom adds out/dicom/NAME/sct/ and out/dicom/NAME/sct_std/,
CT series that join the MR's study.

NAME is the file's, or its folder's where the file is called mr.nii.gz as in SynthRAD, or the DICOM
folder's; where that tells the patient's name, it is made of the voxels.
"""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags
from tqdm import tqdm

from sde_ct import parallel
from sde_ct.cli import run
from sde_ct.config import to_dict
from sde_ct.data.dicom_identity import Identity, identity_of, new_identity
from sde_ct.data.dicom_write import write_ct_series
from sde_ct.data.files import format_of, read_volume, write_volume
from sde_ct.data.fingerprint import voxel_sha256
from sde_ct.data.volume import Volume
from sde_ct.errors import InputError
from sde_ct.methods.sample import SAMPLERS
from sde_ct.synthesis import Synthesizer, SyntheticCT, Trained, load, with_budget
from sde_ct.synthesis.sources import case_name
from sde_ct.training.experiment import versions

WORKDIR = flags.DEFINE_string("workdir", None, "Where the network was trained.", required=True)
MR = flags.DEFINE_string("mr", None, "The MR: NIfTI, MetaImage or DICOM folder.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
SAMPLER = flags.DEFINE_string("sampler", None, f"{', '.join(SAMPLERS)}; none for a CNN or GAN.")
DRAWS = flags.DEFINE_integer("draws", None, "Monte-Carlo draws: 10, or 1 for a CNN or GAN.")
EVALUATIONS = flags.DEFINE_integer("evaluations", None, "Network evaluations a draw; the recipe's.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)
MASK = flags.DEFINE_string("mask", None, "Body mask on the MR's grid; computed if not given.")
SAVE_DRAWS = flags.DEFINE_bool("save_draws", False, "Write every draw to OUTPUT/draws too.")
DICOM = flags.DEFINE_bool("dicom", False, "Write CT series to OUTPUT/dicom too.")


def main() -> None:
    parallel.set_up()
    if DRAWS.value is not None and DRAWS.value < 1:
        raise InputError(f"--draws={DRAWS.value}: give 1 or more.")
    trained = load(Path(WORKDIR.value))
    draws = DRAWS.value or (10 if trained.config.method == "diffusion" else 1)
    source, output = Path(MR.value), Path(OUTPUT.value)
    mr = read_volume(source, "a.u.")
    mask = read_volume(MASK.value, "mask") if MASK.value else None
    identity = identity_of(source) if format_of(source) == "DICOM" else new_identity(mr)
    name = _name(source, mr, identity)
    mean, spread = (output / kind / f"{name}.nii.gz" for kind in ("sct", "sct_std"))
    each = [output / "draws" / f"{name}_{n:02d}.nii.gz" for n in range(draws)]
    series, sidecar = output / "dicom" / name, output / f"{name}.json"
    optional = [*(each if SAVE_DRAWS.value else ()), *([series] if DICOM.value else ())]
    for path in (mean, spread, sidecar, *optional):
        if path.exists():
            raise InputError(f"{path} exists: give another --output or remove it.")
    if EVALUATIONS.value is not None:
        trained = with_budget(trained, SAMPLER.value, EVALUATIONS.value)
    synthesize = Synthesizer(trained, SAMPLER.value)
    bar = partial(tqdm, desc=name, unit="batch")
    ct = synthesize(mr, case=name, draws=draws, seed=SEED.value, mask=mask, progress=bar)
    write_volume(mean, ct.mean)
    if ct.spread is not None:
        write_volume(spread, ct.spread)
    if SAVE_DRAWS.value:
        for path, draw in zip(each, ct.draws, strict=True):
            write_volume(path, draw)
    notes = _write_series(series, ct, identity) if DICOM.value else ()
    _write_json(sidecar, _account(name, source, trained, mr, mask, ct, notes))
    for note in notes:
        print(f"note: {note}")
    print(
        f"{mean}: {ct.slices} slices, {draws} draws, {ct.evaluations:.0f} network "
        f"evaluations and {ct.seconds:.2f} s a slice and draw."
    )


def _name(source: Path, mr: Volume, identity: Identity) -> str:
    """The case's name; never one that holds the patient's."""
    kind, place = format_of(source), source.resolve()
    if kind == "DICOM" and place.is_file():
        place = place.parent
    name = case_name(place)
    named = kind == "DICOM" and identity.named_in(name)  # other formats tell no patient's name
    return f"mr-{voxel_sha256(mr.array)[:12]}" if named else name


def _write_series(folder: Path, ct: SyntheticCT, identity: Identity) -> tuple[str, ...]:
    write_ct_series(folder / "sct", ct.mean, identity)
    if ct.spread is not None:
        write_ct_series(folder / "sct_std", ct.spread, identity, content="spread")
    return identity.notes


def _account(
    name: str,
    source: Path,
    trained: Trained,
    mr: Volume,
    mask: Volume | None,
    ct: SyntheticCT,
    warnings: tuple[str, ...],
) -> dict[str, Any]:
    """How a synthetic CT came about, without paths of the input, which may name the patient."""
    return {
        "case": name,
        "checkpoint": {"workdir": WORKDIR.value, "step": trained.step},
        "configuration": to_dict(trained.config),
        "sampler": SAMPLER.value,
        "draws": len(ct.draws),
        "evaluations": ct.evaluations,
        "seed": SEED.value,
        "input": {
            "format": format_of(source),
            "shape": list(mr.array.shape),
            "spacing_mm": [round(float(s), 6) for s in mr.spacing],
            "sha256": voxel_sha256(mr.array),
            "mask_sha256": voxel_sha256(mask.array) if mask else None,  # None: computed
        },
        "versions": versions(),
        "warnings": list(warnings),
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial_path = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        partial_path.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
