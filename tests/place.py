"""A folder with everything that the programs read, small and sound, to be spoilt by tests."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from . import tiny

FLAGS = {
    "prepare": "--source=pairs --input={in} --output={out} --validation= --test=bert",
    "train": "--config={recipe} --data={data} --workdir={out}",
    "synthesize": "--output={out}",
    "evaluate": "--reference={ref} --output={out}",
    "calibrate": "--workdir={score} --data={data} --sampler=dpm_sde --draws=2",
    "doctor": "--nocost",
}
USUAL = {"synthesize": ("--workdir={cnn}", "--mr={mr}")}  # flags that can be repeated


def build(root: Path) -> Path:
    """Pairs of anna and bert, phantoms prepared, two untrained networks, and predictions."""
    data = tiny.prepared_phantoms(root)
    for name, method in (("cnn", "cnn"), ("score", "diffusion")):
        config = tiny.experiment(method)
        tiny.untrained(config, data, root / name)
        tiny.write_recipe(config, root / f"{name}.py")
    for number, name in enumerate(("anna", "bert"), 1):
        cohort = root / "cohort" / "Task1" / "pelvis" / f"1PA{number:03d}"
        for kind in ("mr", "ct"):
            (root / "in" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(cohort / f"{kind}.nii.gz", root / "in" / name)
        image = nib.load(cohort / "ct.nii.gz")
        for folder, shift in (("sct", 20), ("ref", 0)):
            (root / folder).mkdir(exist_ok=True)
            array = (np.asarray(image.dataobj) + shift).astype(np.int16)
            nib.save(nib.Nifti1Image(array, image.affine), root / folder / f"{name}.nii.gz")
    return root


def flags(root: Path, program: str, more: str) -> list[str]:
    """The program's usual flags and more of them, with the names of places filled in."""
    words = {name: root / name for name in ("in", "data", "cnn", "score", "sct", "ref", "out")}
    words |= {"mr": root / "in" / "bert" / "mr.nii.gz", "recipe": root / "cnn.py", "root": root}
    usual = [f for f in USUAL.get(program, ()) if f.partition("=")[0] + "=" not in more]
    return [word.format(**words) for word in (*FLAGS[program].split(), *usual, *more.split())]
