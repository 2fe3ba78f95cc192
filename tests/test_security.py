"""Nothing that is loaded runs, nothing is written outside the output, nobody is named.

Recipes are the exception: a recipe is a Python file, and the one that is given is run.
"""

import ast
import contextlib
import gzip
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from sde_ct.data.prepared import read_prepared
from sde_ct.errors import InputError
from sde_ct.storage import digest
from sde_ct.synthesis import load

from . import tiny
from .data.conftest import patient, save
from .programs import ROOT, call, listing
from .synthesis.test_dicom_synthesize import SPACING, mr_voxels
from .volumes.dicom_series import edit, write_series

RUNS_CODE = {  # modules that run code, or build any object, from what they read
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"),
    *("yaml", "jsonpickle", "code", "codeop"),
}
CALLS = {"eval", "exec", "compile", "__import__"}
RECIPES = {("sde_ct/config.py", "run_path")}  # which runs the recipe that a user names


@pytest.mark.parametrize("folder", ["sde_ct", "launch", "configs"])
def test_no_code_is_run_from_what_is_read(folder):
    """Every import and call in the package and the programs."""
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{place}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import):
                assert not {a.name.split(".")[0] for a in node.names} & RUNS_CODE, where
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in RUNS_CODE, where
            if isinstance(node, ast.Call):
                _check_call(node, place, where)


def _check_call(node: ast.Call, place: str, where: str) -> None:
    called = node.func
    if isinstance(called, ast.Name):
        assert called.id not in CALLS, where
    if isinstance(called, ast.Attribute):
        assert called.attr not in ("run_path", "run_module") or (place, called.attr) in RECIPES, (
            where
        )
        torch = isinstance(called.value, ast.Name) and called.value.id == "torch"
        assert not (torch and called.attr == "load"), where
    for keyword in node.keywords:
        fixed = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg == "allow_pickle":
            assert fixed is False, where
        if keyword.arg == "shell":
            assert fixed is False, where


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, sentinel: Path):
        self.sentinel = sentinel

    def __reduce__(self):
        return (Path.write_text, (self.sentinel, "run"))


@pytest.fixture
def sentinel(tmp_path):
    return tmp_path / "sentinel"


def test_the_sentinel_tells_of_unpickling(sentinel):
    pickle.loads(pickle.dumps(Evil(sentinel)))
    assert sentinel.exists()


def array_of_objects(path, evil):
    with path.open("wb") as file:
        np.save(file, np.array([evil], dtype=object), allow_pickle=True)


def archive(path, evil):
    with path.open("wb") as file:
        np.savez(file, a=np.array([evil], dtype=object))


HOW = {
    "array of objects": array_of_objects,
    "pickle": lambda path, evil: path.write_bytes(pickle.dumps(evil)),
    "archive": archive,
}


@pytest.mark.parametrize("name", ["cases/1PA001/mr.npy", "cases/1PA001/mask.npy", "dataset.json"])
@pytest.mark.parametrize("how", HOW)
def test_a_malicious_prepared_file_is_not_run(how, name, phantoms, tmp_path, sentinel):
    data = shutil.copytree(phantoms.folder, tmp_path / "data")
    HOW[how](data / name, Evil(sentinel))
    with pytest.raises(InputError, match="damaged"):
        read_prepared(data)
    assert not sentinel.exists()
    if name == "dataset.json" or how == "pickle":
        return
    recipe = tiny.write_recipe(tiny.experiment("cnn"), tmp_path / "recipe.py")
    flags = [f"--config={recipe}", f"--data={data}", f"--workdir={tmp_path / 'run'}"]
    assert "damaged: prepare the data again" in call("train", *flags).error
    assert call("doctor", data, "--nocost").status == 1
    assert not sentinel.exists() and not (tmp_path / "run").exists()


def test_a_malicious_file_in_a_checkpoint_is_not_run(phantoms, tmp_path, sentinel):
    """Each file in turn, with digests that fit it: what is loaded of it is data."""
    run = tiny.untrained(tiny.experiment("cnn"), phantoms, tmp_path / "run")
    files = sorted(p for p in run.rglob("*") if p.is_file())
    assert len(files) > 5
    refused = 0
    for path in files:
        before = path.read_bytes()
        path.write_bytes(pickle.dumps(Evil(sentinel)))
        for place in run.rglob(digest.NAME):
            if path != place:
                place.unlink()
                digest.write(place.parent)
        try:
            load(run)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
        assert not sentinel.exists(), path
        path.write_bytes(before)
        for place in run.rglob(digest.NAME):
            place.unlink()
            digest.write(place.parent)
    assert refused > 2  # experiment.json, the arrays' descriptions


@pytest.mark.parametrize("name", ["recipe.py", "recipe.pkl"])
def test_a_malicious_recipe_is_not_unpickled(name, phantoms, tmp_path, sentinel):
    (tmp_path / name).write_bytes(pickle.dumps(Evil(sentinel)))
    before = listing(tmp_path)
    flags = [f"--data={phantoms.folder}", f"--workdir={tmp_path / 'run'}"]
    done = call("train", f"--config={tmp_path / name}", *flags)
    assert name in done.error and listing(tmp_path) == before


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/b", "..", "c:\\evil"])
def test_a_case_named_as_a_path_is_refused(name, phantoms, tmp_path):
    data = shutil.copytree(phantoms.folder, tmp_path / "data")
    index = json.loads((data / "dataset.json").read_text())
    index["cases"][name] = index["cases"].pop("1PA001")
    index["split"] = {
        k: [name if n == "1PA001" else n for n in v] for k, v in index["split"].items()
    }
    (data / "dataset.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="is a path: prepare it again"):
        read_prepared(data)


NAMES = {
    "PatientID": "../../x",
    "PatientName": "../../x^/etc",
    "SeriesDescription": "a/b\\c ../..",
    "StudyDescription": "/../../x",
    "StudyID": "../x",
}


def test_paths_in_tags_lead_nowhere(runs, tmp_path):
    folder = write_series(tmp_path / "in" / "t2", mr_voxels(), spacing=SPACING)
    for path in folder.iterdir():
        edit(path, **NAMES)
    before = listing(tmp_path)
    done = call("synthesize", f"--workdir={runs('cnn')}", f"--mr={folder}",
                f"--output={tmp_path / 'deep' / 'out'}", "--dicom")  # fmt: skip
    assert done.status == 0, done.err
    inside = {k: v for k, v in listing(tmp_path).items() if not k.startswith("deep")}
    assert inside == before and set(p.name for p in (tmp_path / "deep").iterdir()) == {"out"}
    written = [p for p in (tmp_path / "deep" / "out").rglob("*") if p.is_file()]
    assert written and not any("x" == p.stem or ".." in p.name for p in written)


# Long enough that no binary file holds one by chance: eight given bytes turn up in 10 MB with a
# probability below 1e-10, three letters of either case in nearly every checkpoint.
WHO = ("featherstonehaugh", "wilhelmina", "pat-8264913", "19600102")
NAMED = {"PatientName": "Featherstonehaugh^Wilhelmina", "PatientID": "PAT-8264913"}


def named_in(folder: Path) -> set[str]:
    """Files below a folder that hold a word of the patient's, in their name or content."""
    found = set()
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        with contextlib.suppress(OSError):
            content += gzip.decompress(content) if content else b""
        text = str(path.relative_to(folder)).lower() + content.decode("latin-1").lower()
        if any(word in text for word in WHO):
            found.add(str(path.relative_to(folder)))
    return found


def test_the_patients_names_stay_where_they_are(tmp_path):
    """One patient's DICOM through preparation, training and synthesis."""
    cohort = tmp_path / "in"
    shape = (24, 20, 6)
    for n in range(3):
        volumes = patient(shape, seed=n)
        for kind in ("mr", "ct"):
            write_series(
                cohort / f"p{n}" / kind, volumes[kind].astype(np.int16), modality=kind.upper(),
                spacing=(16.0, 16.0, 16.0), number=10 * n + len(kind), prefix=kind, **NAMED,
            )  # fmt: skip
            assert named_in(cohort / f"p{n}" / kind)
    out = tmp_path / "out"
    done = [call("prepare", "--source=pairs", f"--input={cohort}", f"--output={out / 'data'}",
                 "--test=p2", "--validation=p1")]  # fmt: skip
    recipe = tiny.write_recipe(tiny.experiment("cnn", steps=4), tmp_path / "recipe.py")
    done.append(call("train", f"--config={recipe}", f"--data={out / 'data'}",
                     f"--workdir={out / 'run'}"))  # fmt: skip
    done.append(call("synthesize", f"--workdir={out / 'run'}", f"--mr={cohort / 'p2' / 'mr'}",
                     f"--output={out / 'ct'}"))  # fmt: skip
    done.append(call("doctor", cohort, "--nocost"))
    for one in done:
        assert one.status in (0, 1), one.err
        assert not any(word in (one.out + one.err).lower() for word in WHO), one.out + one.err
    assert len(listing(out)) > 20 and not named_in(out)


def test_a_name_that_is_asked_for_is_kept(tmp_path):
    """Files called by names are the user's own choice, which the doctor points at."""
    for kind, array in patient((24, 20, 6)).items():
        save(tmp_path / "Doe^Jane" / f"{kind}.nii.gz", array, np.diag([16.0, 16, 16, 1]))
    done = call("doctor", tmp_path, "--nocost")
    assert "a patient is named in the name of a file or folder: [name]" in done.out
    assert "Jane" not in done.out and done.status == 1
