"""Requests that a program must refuse: how to spoil a sound folder, and the flags that are wrong.

`tests/place.py` builds the folder. Files of patients that `prepare` refuses are in `broken.py`.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from sde_ct.volumes.formats import either_format

MR, CT, SCT, REF = (
    "in/bert/mr.nii.gz",
    "in/bert/ct.nii.gz",
    "sct/bert.nii.gz",
    "ref/bert.nii.gz",
)
INDEX, RUN = "data/dataset.json", "cnn/experiment.json"
Spoil = Callable[[Path], Any]


class Run(NamedTuple):
    program: str
    flags: str  # after the usual ones of `place.FLAGS`
    sentence: str  # what the refusal must match
    spoil: Spoil = lambda root: None


def text(path: str, content: str | bytes) -> Spoil:
    """Put a file of this content in the place."""

    def spoil(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def voxels(path: str, change: Callable[[np.ndarray], np.ndarray], to: str = "") -> Spoil:
    """Write a volume's changed voxels over it, or `to` another file on its grid."""

    def spoil(root: Path) -> None:
        image = nib.load(root / path)
        target = root / (to or path)
        target.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), target)

    return spoil


def moved(path: str, to: str, affine: np.ndarray) -> Spoil:
    def spoil(root: Path) -> None:
        nib.save(nib.Nifti1Image(np.asarray(nib.load(root / path).dataobj), affine), root / to)

    return spoil


def record(path: str, change: Callable[[dict], Any]) -> Spoil:
    """A JSON file edited by hand."""

    def spoil(root: Path) -> None:
        values = json.loads((root / path).read_text())
        change(values)
        (root / path).write_text(json.dumps(values))

    return spoil


def slices(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(root: Path) -> None:
        np.save(root / path, change(np.load(root / path)), allow_pickle=True)

    return spoil


def exchanged(one: str, other: str) -> Spoil:
    def spoil(root: Path) -> None:
        (root / one).rename(root / "x.nii.gz")
        (root / other).rename(root / one)
        (root / "x.nii.gz").rename(root / other)

    return spoil


def copied(one: str, to: str) -> Spoil:
    def spoil(root: Path) -> None:
        if (root / to).is_dir():
            shutil.rmtree(root / to)
        (root / to).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (root / one).is_dir() else shutil.copy)(root / one, root / to)

    return spoil


def folder(path: str) -> Spoil:
    """A folder where a file should be, or an empty one."""

    def spoil(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).mkdir(parents=True)

    return spoil


def weights(change: Callable[[Path], Any]) -> Spoil:
    """Change the file of the checkpoint's weights."""
    return lambda root: change(root / "cnn/checkpoints/0/weights.msgpack")


def one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def draws(count: int, change: Callable[[np.ndarray, int], np.ndarray] = lambda a, n: a) -> Spoil:
    def spoil(root: Path) -> None:
        (root / "d").mkdir()
        for n in range(count):
            voxels(SCT, lambda a, n=n: change(a, n), f"d/bert_{n:02d}.nii.gz")(root)

    return spoil


def labels(array: np.ndarray) -> np.ndarray:
    return np.digitize(array, np.linspace(array.min(), array.max(), 5)).astype(np.uint8)


def some(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """The volume with some of its voxels at a value."""
    return lambda array: np.where(array > array.mean(), value, array).astype(np.float32)


SHEARED = np.array([[16.0, 8, 0, 0], [0, 16, 0, 0], [0, 0, 16, 0], [0, 0, 0, 1]])
ONES = {"air": 1, "soft": 1, "bone": 1}
CALIBRATION = {
    **{"coverage": 0.9, "sampler": "dpm_sde", "draws": 10, "network": {}, "verified": {}},
    **{"factors": ONES, "half_widths": ONES, "patients": ONES, "voxels": ONES},
}
BERT = "--prediction={sct}/bert.nii.gz "
MASK = BERT + "--mask={root}/m.nii.gz"
FITTED = "--workdir={score} --sampler=dpm_sde --calibrated"
DRAWN = "--workdir={score} --sampler=dpm_sde --draws=2 "
RAYS = "--rays=90 --target={root}/t.nii.gz"
STORED = "score/calibration.json"

PREPARE = {
    "MR and CT exchanged": ("", "mr.nii.gz looks like a CT in HU", exchanged(MR, CT)),
    "MR and CT exchanged in the flags": ("--mr=ct* --ct=mr*", "ct.nii.gz looks like a CT in HU"),
    "the CT twice": ("", "mr.nii.gz looks like a CT in HU", copied(CT, MR)),
    "labels as MR": ("", "holds 5 different values, as a mask or labels do", voxels(MR, labels)),
    "a mask as CT": ("", "it looks scaled to", voxels(CT, lambda a: (a > 0).astype("u1"))),
    "density as CT": ("", "looks scaled", voxels(CT, lambda a: ((a + 1000) / 1e3).astype("f4"))),
    "a CT with its sign lost": ("", "lost their sign", voxels(CT, lambda a: np.abs(a))),
    "a CT times ten": ("", "look like HU times 10; divide by 10", voxels(CT, lambda a: a * 10)),
    "the MR twice": ("", "ct.nii.gz is not in HU .*give the original CT", copied(MR, CT)),
    "a CT upside down": ("", "is not in HU", voxels(CT, lambda a: -a)),
    "a windowed CT": ("", "is not in HU", voxels(CT, lambda a: np.clip(a, -160, 240))),
    "a picture": (
        "",
        rf"bert/mr.png matches 'mr\*' and is not {either_format()}",
        lambda r: (r / MR).rename(r / "in/bert/mr.png"),
    ),
    "a folder as a file": ("", "holds no CT that matches", folder(CT)),
    "a named pipe": ("", "holds no CT", lambda r: ((r / CT).unlink(), os.mkfifo(r / CT))),
    "a page in place of the file": ("", "ct.nii.gz is damaged", text(CT, "<html>Log in</html>")),
    "a pointer to the file": ("", "is damaged", text(CT, "version https://git-lfs.github.com/\n")),
    "a mask that is an image": ("--mask=ct*", "ct.nii.gz is not a mask"),
    "a mask with holes of NaN": (
        "--mask=m*k*",
        "not finite",
        voxels(CT, some(np.nan), "in/bert/mask.nii.gz"),
    ),
    "a pattern that matches all": ("--mr=* --ct=*", "ct.nii.gz, mr.nii.gz all match"),
    "a patient's name with a backslash": (
        "--test=",
        r"b\\ert  refused  the patient's name b\\ert is a path on some systems: rename the",
        lambda r: (r / "in/bert").rename(r / "in/b\\ert"),
    ),
    "a cohort of phantoms without end": (
        "--source=phantom --input={root}/p --patients=1000000000",
        "patients=1000000000: give 1 to 10000",
    ),
    "a pattern that leads away": ("--mr=/etc/*", "is not usable: give a relative glob"),
    "a size of 0": ("--size=0", "size = .0, 0.: give two finite numbers above 0"),
    "a size of a city": ("--size=100000", "Slices of 100000 x 100000 pixels are too large"),
    "a spacing of atoms": ("--spacing=1e-7", "pixels are too large: give a coarser spacing"),
    "a spacing below 0": ("--spacing=-1", "give two finite numbers above 0"),
}
TRAIN = {
    "a volume as data": ("--data={mr}", "dataset.json does not exist"),
    "an index of text": ("", "dataset.json is damaged", text(INDEX, "no JSON")),
    "an index of a list": ("", "dataset.json is damaged", text(INDEX, "[]")),
    "an index of brackets": ("", "dataset.json is damaged", text(INDEX, "[" * 100_000)),
    "an index of another code": ("", "dataset.json is damaged", text(INDEX, b"\xff\xfe{\0}\0")),
    "an index that is a folder": ("", "dataset.json does not exist", folder(INDEX)),
    "an index of a later version": (
        "",
        "has version 99",
        record(INDEX, lambda v: v.update(version=99)),
    ),
    "an index without a split": (
        "",
        "is damaged .it lacks 'split'",
        record(INDEX, lambda v: v.pop("split")),
    ),
    "a split in words": (
        "",
        "is damaged .split.train is '1PA001', not a list",
        record(INDEX, lambda v: v["split"].update(train="1PA001")),
    ),
    "no brightness": (
        "",
        "is damaged .cases.1PA001.mr_percentiles is",
        record(INDEX, lambda v: v["cases"]["1PA001"].update(mr_percentiles={})),
    ),
    "a flat grid": (
        "",
        r"is damaged .cases.1PA001.grid: affine is \[\[0",
        record(INDEX, lambda v: v["cases"]["1PA001"]["grid"].update(affine=[[0] * 4] * 4)),
    ),
    "a patient twice in a part": (
        "",
        "1PA001 is twice in train",
        record(INDEX, lambda v: v["split"]["train"].append("1PA001")),
    ),
    "a patient elsewhere": (
        "",
        "who is not in the data",
        record(INDEX, lambda v: v["split"]["train"].append("../1PA001")),
    ),
    "a size edited": ("", "slices of another size", record(INDEX, lambda v: v.update(size=[8, 8]))),
    "a spacing edited": ("", "is damaged", record(INDEX, lambda v: v.update(spacing=[-1, 1]))),
    "slices cut off": (
        "",
        "mr.npy is missing or damaged",
        lambda r: os.truncate(r / "data/cases/1PA001/mr.npy", 500),
    ),
    "fewer slices of CT": (
        "",
        "ct.npy holds int16 .5, 20, 24",
        slices("data/cases/1PA001/ct.npy", lambda a: a[1:]),
    ),
    "slices of objects": (
        "",
        "mr.npy is missing or damaged",
        slices("data/cases/1PA001/mr.npy", lambda a: np.array([{}], object)),
    ),
    "slices of another type": (
        "",
        "mr.npy holds float64",
        slices("data/cases/1PA001/mr.npy", lambda a: a.astype("f8")),
    ),
    "slices of NaN": (
        "",
        "mr.npy holds NaN or infinite values: prepare the data again",
        slices("data/cases/1PA001/mr.npy", lambda a: a * np.float32(np.nan)),
    ),
    "slices exchanged": (
        "",
        "mr.npy holds int16",
        exchanged("data/cases/1PA001/mr.npy", "data/cases/1PA001/ct.npy"),
    ),
    "a recipe that divides by 0": (
        "",
        "cannot be run .ZeroDivisionError: division by zero, in line 2",
        text("cnn.py", "def get_config():\n    return 1 / 0\n"),
    ),
    "a recipe that imports nothing": (
        "",
        "cannot be run .ModuleNotFoundError",
        text("cnn.py", "import nothing_like_it\n"),
    ),
    "a recipe that raises without a word": (
        "",
        "cannot be run .KeyError: , in line 2",
        text("cnn.py", "def get_config():\n    raise KeyError\n"),
    ),
    "a recipe that asks a library for no field": (
        "",
        "cannot be run .AttributeError: .*, in line 3",
        text(
            "cnn.py",
            "import ml_collections as c\ndef get_config():\n    return c.ConfigDict().b\n",
        ),
    ),
    "a recipe of bytes": ("", "is not Python", text("cnn.py", b"\0\1\2")),
    "a recipe of another kind": (
        "",
        "gives a dict: let",
        text("cnn.py", "def get_config():\n    return {}\n"),
    ),
    "data as recipe": ("--config={data}/dataset.json", "cannot be run .NameError"),
    "an unknown field": ("--config.training.stepz=3", "no field .stepz.: did you mean .steps."),
    "a field of a value": ("--config.sde.kind.x=1", "check the field's name"),
    "a rate that is not a number": ("--config.training.learning_rate=nan", "give a finite number"),
    "a window upside down": ("--config.data.hu_low=3000", "must be below config.data.hu_high"),
    "the data as workdir": ("--workdir={data}", "is a prepared data set: give another folder"),
    "the workdir of another method": ("--workdir={score}", "with another configuration"),
    "weights of another method": ("--init={score}", "a network of another shape"),
    "its own weights": ("--init={out}", "is the --workdir"),
    "one process of none": ("--process=3", "go together: give all three"),
}
SYNTHESIZE = {
    "data as workdir": ("--workdir={data}", "is not a work directory"),
    "data as study": ("--dicom --study={data}", "is damaged or not DICOM"),
    "a study without DICOM": ("--study={data}", "add --dicom"),
    "an empty record": ("", "is damaged .it lacks 'config'", text(RUN, "{}")),
    "a record of nothing": ("", "is damaged .it is None, not an object", text(RUN, "null")),
    "a record of numbers that are none": (
        "",
        "is damaged .NaN is not a number",
        record(RUN, lambda v: v["data"].update(size=[float("nan"), 8])),
    ),
    "an impossible setting": (
        "",
        "config.sde.beta_min=-1.0: give a number above 0. Train again",
        record(RUN, lambda v: v["config"]["sde"].update(beta_min=-1.0)),
    ),
    "a section of nothing": (
        "",
        "has None in place of a section",
        record(RUN, lambda v: v["config"].update(sampling=None)),
    ),
    "no intensity": (
        "",
        "is damaged .data lacks 'intensity'",
        record(RUN, lambda v: v["data"].pop("intensity")),
    ),
    "figures of nothing": (
        "",
        r"data.seen.figures.mr_50 is \[0\], not a list of 2",
        record(RUN, lambda v: v["data"]["seen"]["figures"].update(mr_50=[0])),
    ),
    "a record of a later version": (
        "",
        "does not fit this version: colour. Train again, or use the version that wrote it.",
        record(RUN, lambda v: v["config"].update(colour=1)),
    ),
    "a size of letters": (
        "",
        r"data.size\[0\] is 'a', not a whole number",
        record(RUN, lambda v: v["data"].update(size=["a", "b"])),
    ),
    "a size of nothing": (
        "",
        r"data.size\[0\] is 0, not a whole number above 0",
        record(RUN, lambda v: v["data"].update(size=[0, 0])),
    ),
    "no spacing": (
        "",
        r"data.spacing\[0\] is 0, not a number above 0",
        record(RUN, lambda v: v["data"].update(spacing=[0, 0])),
    ),
    "another network's record": (
        "",
        "checkpoints/0 can.t be read",
        record(RUN, lambda v: v["config"]["network"].update(channels=16)),
    ),
    "another method's checkpoint": (
        "",
        "checkpoints/0 can.t be read",
        copied("score/checkpoints", "cnn/checkpoints"),
    ),
    "a checkpoint with one bit changed": (
        "",
        "has changed since it was written",
        weights(one_bit),
    ),
    "a checkpoint without weights": (
        "",
        "is missing.: give the command",
        weights(Path.unlink),
    ),
    "no checkpoint": (
        "",
        "holds no checkpoint yet",
        lambda r: shutil.rmtree(r / "cnn/checkpoints"),
    ),
    "a CT as MR": ("", "looks like a CT in HU", copied(CT, MR)),
    "a mask as MR": (
        "",
        "holds 2 different values",
        voxels(MR, lambda a: (a > a.mean()).astype("u1")),
    ),
    "an MR without a body": ("", "shows no body", voxels(MR, lambda a: a * 0)),
    "an MR with holes": ("", "are not finite", voxels(MR, some(np.nan))),
    "colour as MR": (
        "",
        "give plain grey values",
        voxels(MR, lambda a: np.zeros(a.shape, [(c, "u1") for c in "RGB"])),
    ),
    "raw signal as MR": ("", "complex64 voxels", voxels(MR, lambda a: a.astype("c8"))),
    "echoes as MR": ("", "give one 3D volume", voxels(MR, lambda a: np.stack([a, a], -1))),
    "a sheared MR for DICOM": ("--dicom", "axes are not perpendicular", moved(MR, MR, SHEARED)),
    "outputs among the MRs": ("--mr={in} --output={in}/out", "in/out lies in .*/in, whose files"),
    "outputs in a patient": ("--mr={in}/* --output={in}/bert", "in/bert lies in .*/in/bert, whose"),
    "no MR in the folder": ("--mr={root}/e", "holds no MR", folder("e")),
    "a pattern without a match": ("--mr={root}/none*.nii.gz", "matches no file or folder"),
    "a full mask": (
        "--mask={root}/m.nii.gz",
        "marks every voxel",
        voxels(MR, lambda a: np.ones(a.shape, "u1"), "m.nii.gz"),
    ),
    "a mask on another grid": (
        "--mask={root}/m.nii.gz",
        "lie on different grids",
        voxels(MR, lambda a: (a > a.mean()).astype("u1")[1:], "m.nii.gz"),
    ),
    "a folder without the mask": (
        "--mask={root}/e",
        "--mask=.*/e holds no mask for bert",
        folder("e"),
    ),
    "draws of no randomness": ("--draws=3", "always gives the same CT; give 1"),
    "a file as output": ("", "out is a file: give a folder as --output", text("out", "precious")),
    "somebody's CT in the place": (
        "",
        "sct/bert.nii.gz exists: give another --output",
        text("out/sct/bert.nii.gz", "precious"),
    ),
    "somebody's sidecar": ("", "is not a sidecar of synthesis", text("out/bert.json", "[]")),
    "no calibration": (FITTED, "calibrate first"),
    "a calibration of text": (FITTED, "calibration.json is damaged", text(STORED, "x")),
    "a negative half width": (
        FITTED,
        "is damaged .half_widths.bone is -1, not a number of 0 or more",
        text(STORED, json.dumps(CALIBRATION | {"half_widths": ONES | {"bone": -1}})),
    ),
    "a calibration in percent": (
        FITTED,
        "is damaged .coverage is 90, not a number above 0 and below 1",
        text(STORED, json.dumps(CALIBRATION | {"coverage": 90})),
    ),
    "a calibration of another network": (
        FITTED,
        "fitted with other settings",
        text(STORED, json.dumps(CALIBRATION)),
    ),
    "more draws than memory holds": (DRAWN + "--draws=1000000000", "give 1 to 10000"),
    "a batch that no device holds": (DRAWN + "--batch=100000", "batch=100000: give 1 to 4096"),
    "endless evaluations": (DRAWN + "--evaluations=1000000000", "too many: give 100000 or fewer"),
    "a table in percent": (
        DRAWN + RAYS + " --stopping_power={root}/t.csv",
        "t.csv' cannot be used: an RSP is 100: give values from 0 to 10, relative to water",
        text("t.csv", "HU,RSP\n-1000,0\n0,100\n"),
    ),
    "one evaluation of none": (
        "--workdir={score} --sampler=dpm_sde --evaluations=0",
        "are too few",
    ),
    "steps too long to be stable": (
        "--workdir={score} --sampler=pc --evaluations=8",
        "8 evaluations are too few: pc needs 18 or more",
    ),
    "no sampler": ("--workdir={score}", "needs a sampler"),
    "the mean of a CNN": ("--sampler=mean", "has no sampler: leave out sampler='mean'"),
    "no regression": ("--workdir={score} --sampler=mean", "no regression for the sampler 'mean'"),
    "an SDE for a CNN": ("--sde=vp", "follows no SDE: leave out --sde"),
    "rays without a target": (DRAWN + "--rays=90", "--rays needs a target: give --target"),
    "a target without rays": (DRAWN + "--target={mr}", "--target works only with --rays"),
    "a table without rays": (DRAWN + "--stopping_power=matrad", "works only with --rays"),
    "a gantry angle in words": (DRAWN + RAYS.replace("90", "left"), "'left' is not a gantry angle"),
    "a gantry angle twice": (DRAWN + RAYS.replace("90", "90,90"), "gantry angle 90 twice"),
    "a table of text": (
        DRAWN + RAYS + " --stopping_power={root}/t.csv",
        "t.csv does not begin with the line HU,RSP",
        text("t.csv", "-1000,0\n0,1\n"),
    ),
    "no target there": (DRAWN + RAYS, "--target=.*t.nii.gz does not exist: give a mask"),
    "no target there for two": (
        DRAWN + RAYS + " --mr={in}",
        "--target=.*t.nii.gz does not exist: give a mask",
    ),
    "targets of others": (
        DRAWN + "--mr={in} --rays=90 --target={root}/e",
        "--target=.*/e holds no target for anna, bert: name each mask or RTSTRUCT file after its",
        folder("e"),
    ),
    "no structures there": (DRAWN + "--structures={root}/e", "--structures=.*/e is not a folder"),
    "structures of others": (
        DRAWN + "--structures={in}/anna",
        "--structures=.*/anna holds no folder for bert: put the masks or RTSTRUCT files of each",
    ),
    "no masks there": ("--mr={in} --mask={root}/e", "--mask=.*/e does not exist: give a mask"),
    "masks of others": (
        "--mr={in} --mask={root}/e",
        "--mask=.*/e holds no mask for anna, bert: name each mask after its MR",
        folder("e"),
    ),
    "an MR as target": (DRAWN + "--rays=90 --target={mr}", "mr.nii.gz is not a mask"),
    "an empty target": (
        DRAWN + RAYS,
        "t.nii.gz is empty: mark the target",
        voxels(MR, lambda a: np.zeros(a.shape, "u1"), "t.nii.gz"),
    ),
    "a target on another grid": (
        DRAWN + RAYS,
        "lies on another grid than bert",
        voxels(MR, lambda a: (a > a.mean()).astype("u1")[1:], "t.nii.gz"),
    ),
    "an ROI of a mask": (
        DRAWN + RAYS + ":PTV",
        "is not an RTSTRUCT and has no ROI 'PTV'",
        voxels(MR, lambda a: (a > a.mean()).astype("u1"), "t.nii.gz"),
    ),
    "rays in a single draw": (RAYS, "and a single draw has none"),
    "rays in the only draw": (DRAWN + RAYS + " --draws=1", "and a single draw has none"),
    "another SDE than the calibration's": (FITTED + " --sde=vp", "leave out --sde"),
}
EVALUATE = {
    "nothing predicted": ("--prediction={root}/e", "holds no predictions", folder("e")),
    "a hidden file alone": (
        "--prediction={root}/e",
        "holds no predictions",
        text("e/._bert.nii.gz", "x"),
    ),
    "an MR as reference": (BERT, "ref/bert.nii.gz is not in HU", copied(MR, REF)),
    "a reference with an offset": (
        BERT,
        r"HU \+ 1024; subtract 1024",
        voxels(REF, lambda a: a + 1024),
    ),
    "one reference for two": (
        "--prediction={sct} --reference={ref}/bert.nii.gz",
        "--reference=.*bert.nii.gz is one reference CT for 2 predictions: give a folder",
    ),
    "two references": (BERT, "are both 'bert'", copied(REF, "ref/bert.nii")),
    "a case of another name": (
        BERT,
        "--reference=.*/ref holds no reference CT for bert: name it bert.nii.gz",
        lambda r: (r / REF).unlink(),
    ),
    "a prediction of text": (BERT, "sct/bert.nii.gz is damaged", text(SCT, "no image")),
    "a prediction of NaN": (BERT, "are not finite", voxels(SCT, some(np.nan))),
    "a prediction elsewhere": (
        BERT,
        "lies on another grid",
        moved(SCT, SCT, np.diag([1.0, 2, 3, 1])),
    ),
    "a slice alone": (BERT, "give one 3D volume", voxels(SCT, lambda a: a[..., 0])),
    "an empty mask": (
        MASK,
        "m.nii.gz is empty",
        voxels(REF, lambda a: np.zeros(a.shape, "u1"), "m.nii.gz"),
    ),
    "labels as mask": (MASK, "m.nii.gz is not a mask", voxels(REF, labels, "m.nii.gz")),
    "a mask of other slices": (
        MASK,
        "another grid",
        voxels(REF, lambda a: (a > 0).astype("u1")[..., 1:], "m.nii.gz"),
    ),
    "no mask of that case": (
        BERT + "--mask={root}/m",
        "--mask=.*/m holds no mask for bert: name it bert.nii.gz",
        voxels(REF, lambda a: (a > 0).astype("u1"), "m/anna.nii.gz"),
    ),
    "a protocol of next year": (BERT + "--protocol=synthrad2099", "give one of volume, paper"),
    "slices of no step": (BERT + "--z_slices=::0", "write start:stop:step"),
    "slices above the head": (BERT + "--z_slices=100:", "no body in the chosen slices"),
    "a name for two": (BERT + "--method=a --method=b", "give each prediction its own --method"),
    "a name of nothing": (BERT + "--method=", "--method is empty"),
    "one draw": (BERT + "--draws={root}/d", "--draws=.*/d holds 1 draws of bert", draws(1)),
    "draws of other sizes": (
        BERT + "--draws={root}/d",
        "another grid",
        draws(2, lambda a, n: a[n:]),
    ),
    "a file as draws": (BERT + "--draws={sct}/bert.nii.gz", "give the folder of all draws"),
    "draws and spread": (BERT + "--draws={root}/d --spread={sct}", "leave it out", draws(2)),
    "a CT as spread": (
        BERT + "--spread={ref}/bert.nii.gz",
        "values below 0: give standard deviations",
    ),
    "a file as output": (BERT, "is a file: choose another output", text("out", "precious")),
    "a report in the place": (
        BERT,
        "report.html exists already",
        text("out/report.html", "precious"),
    ),
    "structures for nothing": (BERT + "--structures={in}", "works only with --draws or"),
    "rays without draws": (BERT + RAYS, "--rays measures the draws: give --draws"),
    "rays through some slices": (
        BERT + RAYS + " --draws={root}/d --z_slices=1::2",
        "leave out --z_slices",
    ),
    "rays to nothing": (BERT + "--rays=90 --draws={root}/d", "--rays needs a target"),
    "one target for two": (
        "--prediction={sct} --draws={root}/d " + RAYS,
        "t.nii.gz is one target for 2 cases",
        lambda r: [
            voxels(f"sct/{n}.nii.gz", lambda a: a, to)(r)
            for n in ("anna", "bert")
            for to in (f"d/{n}_00.nii.gz", f"d/{n}_01.nii.gz", "t.nii.gz")
        ],
    ),
    "no target there": (
        BERT + "--draws={root}/d --rays=90 --target={root}/t:PTV",
        "--target=.*/t:PTV does not exist: give a mask, or an RTSTRUCT file",
        draws(2),
    ),
    "no structures there": (
        BERT + "--draws={root}/d --structures={root}/o",
        "--structures=.*/o is not a folder: give one that holds, for each case, a folder",
        draws(2),
    ),
    "structures of others": (
        BERT + "--export-dose={root}/x --structures={in}/anna",
        "--structures=.*/anna holds no folder for bert: put the masks or RTSTRUCT files of each",
    ),
    "no predictions there": ("--prediction={root}/e", "--prediction=.*/e does not exist: check"),
    "no masks there": (BERT + "--mask={root}/e", "--mask=.*/e does not exist: check"),
    "no draws there": (BERT + "--draws={root}/e", "--draws=.*/e does not exist: check"),
    "no target of that case": (
        BERT + "--draws={root}/d --rays=90 --target={root}/t",
        "--target=.*/t holds no target for bert: name each mask or RTSTRUCT file after its case",
        lambda r: (draws(2)(r), (r / "t").mkdir()),
    ),
    "rays where a table lies": (
        BERT + RAYS + " --draws={root}/d",
        "rays.csv exists already",
        text("out/rays.csv", "precious"),
    ),
    "a file as export": (
        BERT + "--export-dose={root}/x",
        "x is a file: choose another",
        text("x", "precious"),
    ),
    "an image as structure": (
        BERT + "--export-dose={root}/x --structures={root}/o",
        "is not a mask",
        copied(REF, "o/bert/bladder.nii.gz"),
    ),
    "a damaged RTSTRUCT": (
        BERT + "--export-dose={root}/x --structures={root}/o",
        "RS.dcm is damaged or not DICOM",
        text("o/bert/RS.dcm", "precious"),
    ),
    "one dose": (BERT + "--gamma=a", "give two dose grids"),
    "slices smaller than the window": (
        BERT,
        "smaller than the SSIM window",
        lambda r: [voxels(p, lambda a: a[:6])(r) for p in (SCT, REF)],
    ),
}
CALIBRATE = {
    "a CNN": ("--workdir={cnn}", "has no spread: give a network whose draws differ"),
    "a cohort as data": ("--data={in}", "in is not a prepared data set, because it holds no data"),
    "an unknown sampler": ("--sampler=none", "Unknown sampler 'none'"),
    "coverage in percent": ("--coverage=90", "give 0.9 for 90 %"),
    "coverage of no number": ("--coverage=nan", "give 0.9 for 90 %"),
    "a calibration in the place": ("", "remove it to calibrate again", text(STORED, "precious")),
    "no validation": (
        "",
        "has no validation patients",
        record(INDEX, lambda v: v["split"]["test"].append(v["split"]["validation"].pop())),
    ),
    "targets without rays": ("--targets={root}/t", "--targets works only with --rays"),
    "a table without rays": ("--stopping_power=matrad", "--stopping_power works only with --rays"),
    "a gantry angle of 400": ("--rays=0,400", "'400' is not a gantry angle: give degrees from 0"),
    "a file as targets": ("--rays=0 --targets={mr}", "mr.nii.gz is not a folder: give the folder"),
    "no targets there": ("--rays=0 --targets={root}/t", "--targets=.*/t does not exist: give a"),
    "no structures there": ("--structures={root}/o", "--structures=.*/o is not a folder: give one"),
    "structures of others": (
        "--structures={in}",
        "--structures=.*/in holds no folder for 1PA004: put the masks or RTSTRUCT files of each",
    ),
    "no target of a patient": (
        "--rays=0 --targets={root}/t",
        "--targets=.*/t holds no target for 1PA004: name it 1PA004.nii.gz",
        folder("t"),
    ),
    "an empty target": (
        "--rays=0 --targets={root}/t",
        "1PA004.nii.gz is empty: mark the target",
        voxels("data/cases/1PA004/mr.nii.gz", lambda a: a * 0, "t/1PA004.nii.gz"),
    ),
    "a training patient": (
        "",
        "give the data of its training",
        record(INDEX, lambda v: v["split"]["validation"].append(v["split"]["train"].pop())),
    ),
}
DOCTOR = {
    "a named pipe": ("{root}/f.nii.gz", "does not exist", lambda r: os.mkfifo(r / "f.nii.gz")),
    "a recipe": ("{recipe}", f"is not {either_format()}"),
    "an empty folder": ("{root}/e", "holds no images", folder("e")),
    "a patient's name with a backslash": (
        "{in}",
        r"the patient's name b\\ert is a path on some systems",
        lambda r: (r / "in/bert").rename(r / "in/b\\ert"),
    ),
    "an index of brackets": ("{data}", "dataset.json is damaged", text(INDEX, "[" * 100_000)),
    "a record of brackets": ("{cnn}", "experiment.json is damaged", text(RUN, "[" * 100_000)),
    "a record of letters": (
        "{cnn}",
        r"data.size\[0\] is .a., not a whole number",
        record(RUN, lambda v: v["data"].update(size=["a", "b"])),
    ),
    "a split of a list": (
        "{cnn}",
        "data.split is .*, not an object",
        record(RUN, lambda v: v["data"].update(split=["a"])),
    ),
    "a calibration of text": (
        "{score}",
        "calibration.json is damaged .Expecting value.* fix: remove it and calibrate again",
        text(STORED, "x"),
    ),
    "bounds of a calibration": (
        "{score}",
        "calibration.json is damaged .it lacks 'centre'. fix",
        text(STORED, json.dumps(CALIBRATION | {"path_lengths": {"plan": {}}})),
    ),
    "an empty reference": (
        "{cnn}",
        "acceptance.json is damaged or of another version .it lacks .* fix: remove it",
        text("cnn/acceptance.json", "{}"),
    ),
    "slices of NaN": (
        "{data}",
        "1PA001: cases/1PA001/mr.npy holds NaN or infinite values fix: prepare the data again",
        slices("data/cases/1PA001/mr.npy", lambda a: a * np.float32(np.nan)),
    ),
    "a CT as MR": ("{in}", "the MR looks like a CT in HU", copied(CT, MR)),
    "labels as MR": ("{mr}", "the MR holds 5 different values", voxels(MR, labels)),
}


def table() -> dict[str, Run]:
    """Every refused request by program and name."""
    programs = {
        "prepare": PREPARE,
        "train": TRAIN,
        "synthesize": SYNTHESIZE,
        "evaluate": EVALUATE,
        "calibrate": CALIBRATE,
        "doctor": DOCTOR,
    }
    return {
        f"{program} {name}": Run(program, *row)
        for program, rows in programs.items()
        for name, row in rows.items()
    }
