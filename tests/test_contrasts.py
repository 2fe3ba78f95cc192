"""Several MR contrasts as a network's input: prepared, trained, synthesized, and refused."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from sde_ct.data.inputs import network_input
from sde_ct.data.prepared import read_prepared
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.errors import InputError
from sde_ct.lab.phantom.cohort import write_cohort
from sde_ct.synthesis.contrasts import find_contrasts
from sde_ct.training.data import examples_of
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume

from . import tiny
from .programs import call, listing
from .volumes import dicom_series

MADE = {"shape": (24, 20, 6), "spacing": (16.0, 16.0, 16.0)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four phantoms with T2 (mr.nii.gz) and T1, of which 1PA004's T1 lies on a grid of its own."""
    root = tmp_path_factory.mktemp("contrasts")
    folders = write_cohort(root / "cohort", 4, 3, t1=True, **MADE)
    t1 = read_volume(folders[3] / "t1.nii.gz", "a.u.")
    # Half the voxels of the T2's along x, from its first voxel to its last.
    finer = t1.affine.copy()
    finer[:3, 0] /= 2
    array = np.repeat(t1.array, 2, axis=0)[:-1]
    array[1::2] = (t1.array[:-1] + t1.array[1:]) / 2
    (folders[3] / "t1.nii.gz").unlink()
    write_volume(folders[3] / "t1.nii.gz", Volume(array, finer, "a.u."))
    done = prepare(root, "both", "--mr=mr*", "--mr=t1*")
    assert done.status == 0, done.err
    return root


def prepare(root, name, *patterns):
    cohort = root / "cohort" / "Task1" / "pelvis"
    usual = ("--source=pairs", f"--input={cohort}", f"--output={root / name}", "--workers=1")
    names = ("--validation=1PA001", "--test=1PA002")
    return call("prepare", *usual, *patterns, "--ct=ct*", "--mask=mask*", *names)


def experiment(contrasts=2):
    config = tiny.experiment("cnn", steps=2)
    config.data.contrasts, config.data.neighbours = contrasts, 1
    return config


@pytest.fixture(scope="module")
def workdir(root):
    recipe = tiny.write_recipe(experiment(), root / "recipe.py")
    workdir = root / "run"
    done = call("train", f"--config={recipe}", f"--data={root / 'both'}", f"--workdir={workdir}")
    assert done.status == 0, done.err
    assert f"{workdir}: trained to step" in done.out
    return workdir


def test_training_and_synthesis_see_the_same_channels(root):
    prepared, config = read_prepared(root / "both"), experiment()
    assert prepared.contrasts == ("mr", "t1")
    source = examples_of(config.data, prepared, "train")
    case = prepared.of("train")[1]
    assert case.id == "1PA004"
    files = [root / "cohort" / "Task1" / "pelvis" / case.id / f"{k}.nii.gz" for k in ("mr", "t1")]
    mr, t1 = (read_volume(path, "a.u.") for path in files)
    given = network_input(mr, source._intensity.mr, further=[t1], neighbours=1, size=prepared.size)
    examples = [source[i] for i in range(len(source)) if source.where(i)[0] == case.id]
    assert given.mr.shape == (6, *prepared.size, 6)
    for z, example in enumerate(examples):
        np.testing.assert_allclose(example["mr"], given.mr[z], atol=1e-6)
    # The first three channels are those of the T2 alone, and the T1 is scaled by its own signal.
    alone = network_input(mr, source._intensity.mr, neighbours=1, size=prepared.size)
    np.testing.assert_array_equal(given.mr[..., :3], alone.mr)
    body = given.body > 0
    for contrast in (given.mr[..., 1], given.mr[..., 4]):
        assert np.percentile(contrast[body], 0.5) < -0.9 and np.percentile(contrast[body], 99) > 0.7
    # T1 and T2 see tissue in another way, but both see the body: air is dark in each.
    assert given.mr[..., 4][~body].max() < 0


def test_a_contrast_on_another_grid_is_put_on_the_first_ones(root):
    case = read_prepared(root / "both").of("train")[1]
    stored = case.volume("mr_t1")
    own = write_cohort(root / "again", 4, 3, t1=True, **MADE)[3]
    original = read_volume(own / "t1.nii.gz", "a.u.")
    np.testing.assert_allclose(stored.affine, original.affine, atol=1e-4)
    # Every second voxel of the finer grid is a voxel of the T2's grid: float32 files.
    np.testing.assert_allclose(stored.array, original.array, rtol=1e-3, atol=0.05)


def test_from_two_contrasts_to_a_ct(root, workdir, tmp_path):
    cohort = root / "cohort" / "Task1" / "pelvis"
    two = [f"--mr={name}={cohort / '1PA00[23]' / name}.nii.gz" for name in ("t1", "mr")]
    usual = (f"--workdir={workdir}", "--draws=1")
    done = call("synthesize", *usual, f"--output={tmp_path / 'many'}", *two)
    assert done.status == 0, done.err
    made = sorted(p.name for p in (tmp_path / "many" / "sct").iterdir())
    assert made == ["1PA002.nii.gz", "1PA003.nii.gz"]
    sidecar = json.loads((tmp_path / "many" / "1PA002.json").read_text())
    assert set(sidecar["input"]["contrasts_sha256"]) == {"t1"}
    in_order = [f"--mr={cohort / '1PA002' / name}.nii.gz" for name in ("mr", "t1")]
    done = call("synthesize", *usual, f"--output={tmp_path / 'one'}", *in_order)
    assert done.status == 0, done.err
    one, many = (
        np.asarray(nib.load(tmp_path / name / "sct" / f"{file}.nii.gz").dataobj)
        for name, file in (("one", "1PA002"), ("many", "1PA002"))
    )
    np.testing.assert_array_equal(one, many)
    # The other order is another input.
    done = call("synthesize", *usual, f"--output={tmp_path / 'turned'}", *in_order[::-1])
    turned = np.asarray(nib.load(next((tmp_path / "turned" / "sct").iterdir())).dataobj)
    assert done.status == 0 and not np.array_equal(one, turned)


def test_a_missing_contrast_is_an_error(root, workdir, tmp_path):
    cohort = root / "cohort" / "Task1" / "pelvis"
    copied = shutil.copytree(cohort, tmp_path / "cohort")
    (copied / "1PA003" / "t1.nii.gz").unlink()
    t2, t1 = copied / "1PA002" / "mr.nii.gz", copied / "1PA002" / "t1.nii.gz"
    before = listing(tmp_path)
    for arguments, sentence in (
        ([t2], "needs 2 MR contrasts: give --mr=mr=PATH --mr=t1=PATH, each once"),
        ([f"mr={t2}", t1], "needs 2 MR contrasts"),
        ([f"mr={t2}", f"mr={t1}"], "needs 2 MR contrasts"),
        ([t2, t1, t1], "needs 2 MR contrasts"),
        ([t2, t2], f"{t2} is given as two contrasts"),
        ([copied / "*" / "mr.nii.gz", copied / "*" / "t1.nii.gz"], "1PA003 has no t1"),
    ):
        flags = [f"--mr={argument}" for argument in arguments]
        usual = (f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--draws=1")
        assert sentence in call("synthesize", *usual, *flags).error
    assert listing(tmp_path) == before
    done = call(
        "prepare", "--source=pairs", f"--input={copied}", f"--output={tmp_path / 'data'}",
        "--mr=mr*", "--mr=t1*", "--ct=ct*", "--mask=mask*", "--validation=", "--test=1PA002",
        "--workers=1",
    )  # fmt: skip
    assert "1PA003" in done.out + done.err and "matches 't1*'" in done.out + done.err
    assert set(read_prepared(tmp_path / "data").cases) == {"1PA001", "1PA002", "1PA004"}


def test_dicom_contrasts_must_share_their_frame_of_reference(workdir, tmp_path):
    """Their positions say nothing about each other otherwise."""
    voxels = dicom_series.voxels()
    for name in ("t2", "t1"):
        dicom_series.write_series(tmp_path / name, voxels)
    flags = [f"--mr={label}={tmp_path / name}" for label, name in (("mr", "t2"), ("t1", "t1"))]
    usual = (f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--draws=1")
    for path in (tmp_path / "t1").iterdir():
        dicom_series.edit(path, FrameOfReferenceUID="1.2.3")
    assert "lies in another frame of reference" in call("synthesize", *usual, *flags).error


def test_preparation_compares_their_frames_of_reference_too(tmp_path):
    patient = tmp_path / "jane"
    for number, name in enumerate(("t2", "t1", "ct"), 1):
        kind = "CT" if name == "ct" else "MR"
        voxels = dicom_series.voxels(seed=number)
        dicom_series.write_series(patient / name, voxels, modality=kind, number=number)
    (case,) = find_cases("pairs", tmp_path, Patterns("t2*", "ct*", further=("t1*",)))
    assert list(case.read().further) == ["t1"]
    for path in (patient / "t1").iterdir():
        dicom_series.edit(path, FrameOfReferenceUID="1.2.3")
    with pytest.raises(InputError) as refused:
        case.read()
    assert str(refused.value) == (
        f"{patient / 't1'} lies in another frame of reference than {patient / 't2'}: give "
        "contrasts of one session, or register them first"
    )


def test_the_recipe_must_ask_for_what_the_data_have(root, phantoms, tmp_path):
    for contrasts, data, count in ((1, read_prepared(root / "both"), 2), (2, phantoms, 1)):
        sentence = rf"contrasts={contrasts}, but .* has {count} MR contrasts? .*contrasts={count}"
        with pytest.raises(InputError, match=sentence):
            tiny.train(experiment(contrasts), data, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_contrast_with_another_name_is_prepared_anew(root):
    shutil.copytree(root / "both", root / "renamed")
    done = prepare(root, "renamed", "--mr=m[r]*", "--mr=t1*")
    assert done.status == 0 and "(kept)" not in done.out, done.out + done.err
    assert read_prepared(root / "renamed").contrasts == ("m", "t1")
    assert prepare(root, "renamed", "--mr=m[r]*", "--mr=t1*").out.count("(kept)") == 4


def test_nnunet_names_belong_together(tmp_path):
    for name in ("p_0000", "p_0001", "q_1_0000", "q_1_0001"):
        (tmp_path / f"{name}.nii.gz").touch()
    patterns = [str(tmp_path / f"*_000{n}.nii.gz") for n in (0, 1)]
    found = find_contrasts(patterns, ("T2", "T1"))
    assert [(s.name, s.path.name, s.further[0].name) for s in found] == [
        ("p", "p_0000.nii.gz", "p_0001.nii.gz"),
        ("q_1", "q_1_0000.nii.gz", "q_1_0001.nii.gz"),
    ]
    (one,) = find_contrasts([str(tmp_path / f"p_000{n}.nii.gz") for n in (0, 1)], ("T2", "T1"))
    assert one == found[0]


def test_a_contrast_beside_the_body_is_refused(root):
    folder = root / "cohort" / "Task1" / "pelvis" / "1PA001"
    mr, t1 = (read_volume(folder / f"{name}.nii.gz", "a.u.") for name in ("mr", "t1"))
    half = Volume(t1.array[:12], t1.affine, "a.u.")
    far = t1.affine.copy()
    far[0, 3] += 2000
    scaling = examples_of(experiment().data, read_prepared(root / "both"), "train")._intensity.mr
    for volume, sentence in (
        (half, r"MR contrast 2 of x covers \d\d % of the body"),
        (Volume(t1.array, far, "a.u."), "MR contrast 2 of x does not overlap"),
    ):
        with pytest.raises(InputError, match=sentence):
            network_input(mr, scaling, further=[volume], name="x")
