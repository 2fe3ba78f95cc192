"""Synthesize the CT of an MR volume: mean and spread on the MR's own grid, int16 HU.

    python launch/synthesize.py --workdir=runs/score --mr=patient/mr.nii.gz --output=out \\
        --sampler=ode --draws=10 --seed=0

writes out/sct/NAME.nii.gz and, for two draws or more, out/sct_std/NAME.nii.gz. NAME is the file's,
or its folder's where the file is called mr.nii.gz as in SynthRAD.
"""

from functools import partial
from pathlib import Path

from absl import flags
from tqdm import tqdm

from sde_ct import parallel
from sde_ct.cli import run
from sde_ct.data.files import read_volume, write_volume
from sde_ct.errors import InputError
from sde_ct.methods.sample import SAMPLERS
from sde_ct.synthesis import Synthesizer, case_name, load, with_budget

WORKDIR = flags.DEFINE_string("workdir", None, "Where the network was trained.", required=True)
MR = flags.DEFINE_string("mr", None, "The MR volume, NIfTI.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
SAMPLER = flags.DEFINE_string("sampler", None, f"{', '.join(SAMPLERS)}; none for a CNN or GAN.")
DRAWS = flags.DEFINE_integer("draws", None, "Monte-Carlo draws: 10, or 1 for a CNN or GAN.")
EVALUATIONS = flags.DEFINE_integer("evaluations", None, "Network evaluations a draw; the recipe's.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", lower_bound=0)
MASK = flags.DEFINE_string("mask", None, "Body mask on the MR's grid; computed if not given.")
SAVE_DRAWS = flags.DEFINE_bool("save_draws", False, "Write every draw to OUTPUT/draws too.")


def main() -> None:
    parallel.set_up()
    if DRAWS.value is not None and DRAWS.value < 1:
        raise InputError(f"--draws={DRAWS.value}: give 1 or more.")
    trained = load(Path(WORKDIR.value))
    draws = DRAWS.value or (10 if trained.config.method == "diffusion" else 1)
    name, output = case_name(Path(MR.value)), Path(OUTPUT.value)
    mean, spread = (output / kind / f"{name}.nii.gz" for kind in ("sct", "sct_std"))
    each = [output / "draws" / f"{name}_{n:02d}.nii.gz" for n in range(draws)]
    for path in (mean, spread, *(each if SAVE_DRAWS.value else ())):
        if path.exists():
            raise InputError(f"{path} exists: give another --output or remove it.")
    mr = read_volume(MR.value, "a.u.")
    mask = read_volume(MASK.value, "mask") if MASK.value else None
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
    print(
        f"{mean}: {ct.slices} slices, {draws} draws, {ct.evaluations:.0f} network "
        f"evaluations and {ct.seconds:.2f} s a slice and draw."
    )


if __name__ == "__main__":
    run(main)
