"""Many volumes in one call: one program compiled, refusals that stop nobody, and going on."""

import json
import shutil
import signal
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from sde_ct.methods import build_sampled

from ..programs import ROOT, call, listing

AFFINE = np.diag([16.0, 16.0, 16.0, 1.0])


def save(path, depth: int, seed: int, plane: tuple[int, int] = (20, 16)) -> None:
    """An MR of a noisy cylinder."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in plane), indexing="ij")
    body = np.repeat((x**2 + y**2 < 0.8)[..., None], depth, axis=2)
    noise = np.random.default_rng(seed).uniform(0, 60, body.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image((200 * body + noise).astype(np.float32), AFFINE), path)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three MRs of one slice size and different lengths."""
    folder = tmp_path_factory.mktemp("cohort")
    for seed, (name, depth) in enumerate({"anna": 4, "bert": 7, "carl": 5}.items()):
        save(folder / f"{name}.nii.gz", depth, seed)
    return folder


@pytest.fixture
def usual(runs, tmp_path):
    return [f"--workdir={runs('diffusion')}", f"--output={tmp_path / 'out'}", "--sampler=em"]


@pytest.fixture(scope="module")
def done(runs, cohort, tmp_path_factory):
    """What three volumes gave together, and how often the sampler was traced for them."""
    traces = []

    def counted(config, *, sampler=None):
        method = build_sampled(config, sampler=sampler)
        traced = lambda *arguments: traces.append(sampler) or method.draw(*arguments)  # noqa: E731
        return method._replace(draw=traced)

    out = tmp_path_factory.mktemp("done") / "out"
    patch = pytest.MonkeyPatch()
    patch.setattr("sde_ct.synthesis.synthesizer.build_sampled", counted)
    flags = ["--sampler=em", "--draws=2", f"--mr={cohort}"]
    finished = call("synthesize", f"--workdir={runs('diffusion')}", f"--output={out}", *flags)
    patch.undo()
    assert finished.status == 0, finished.err
    return out, finished, traces


def test_volumes_of_one_slice_size_share_one_program(done):
    """A program is traced once where it is compiled once, and never again."""
    _, finished, traces = done
    assert traces == ["em"]
    assert finished.out.count("network evaluations and") == 3


def test_a_volume_among_others_is_as_it_is_alone(done, cohort, usual, tmp_path):
    out, _, _ = done
    alone = call("synthesize", *usual, "--draws=2", f"--mr={cohort / 'bert.nii.gz'}")
    assert alone.status == 0, alone.err
    found = listing(tmp_path / "out")
    assert {k for k in found if "bert" in k} == {
        "bert.json", "sct/bert.nii.gz", "sct_std/bert.nii.gz"
    }  # fmt: skip
    for kind in ("sct", "sct_std"):
        one, other = (nib.load(p / kind / "bert.nii.gz") for p in (out, tmp_path / "out"))
        np.testing.assert_array_equal(one.dataobj, other.dataobj)


def test_the_same_command_again_does_nothing(done, runs, cohort):
    out, _, _ = done
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    flags = ["--sampler=em", "--draws=2", f"--mr={cohort}", f"--output={out}"]
    again = call("synthesize", f"--workdir={runs('diffusion')}", *flags)
    assert again.status == 0 and again.out.count("is complete: nothing to do") == 3
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


CHANGED = {
    "seed": (["--seed=1"], "seed: 0 -> 1"),
    "draws": (["--draws=3"], "draws: 2 -> 3"),
    "sampler": (["--sampler=ddim"], "sampler: em -> ddim"),
    "steps": (["--evaluations=15"], "configuration.sampling.em_steps: 12 -> 15"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_request_is_refused_and_changes_nothing(name, done, runs, cohort):
    out, _, _ = done
    flags, sentence = CHANGED[name]
    before = listing(out)
    usual = [f"--workdir={runs('diffusion')}", f"--output={out}", "--sampler=em", "--draws=2"]
    error = call("synthesize", *usual, f"--mr={cohort / 'anna.nii.gz'}", *flags).error
    assert error.startswith(f"{out / 'anna.json'} describes another request (")
    assert sentence in error and listing(out) == before


def test_changed_voxels_are_another_request(done, runs, cohort, tmp_path):
    out, _, _ = done
    save(tmp_path / "anna.nii.gz", 4, seed=9)
    usual = [f"--workdir={runs('diffusion')}", f"--output={out}", "--sampler=em", "--draws=2"]
    error = call("synthesize", *usual, f"--mr={tmp_path / 'anna.nii.gz'}").error
    assert "input.sha256" in error
    image = nib.load(cohort / "anna.nii.gz")
    moved = nib.Nifti1Image(image.get_fdata(dtype=np.float32), np.diag([16, 16, 8, 1]))
    nib.save(moved, tmp_path / "anna.nii.gz")  # the same voxels elsewhere
    error = call("synthesize", *usual, f"--mr={tmp_path / 'anna.nii.gz'}").error
    assert "input.spacing_mm.2: 16.0 -> 8.0" in error


def test_an_incomplete_volume_is_done_again(done, runs, cohort, tmp_path):
    """One result lost; another cut short by a killed run, which had moved but one of its files."""
    out = tmp_path / "out"
    shutil.copytree(done[0], out)
    (out / "sct_std" / "anna.nii.gz").unlink()
    (out / ".partial-bert" / "sct_std").mkdir(parents=True)
    for path in ("bert.json", "sct_std/bert.nii.gz"):
        (out / path).rename(out / ".partial-bert" / path)
    flags = ["--sampler=em", "--draws=2", f"--mr={cohort}", f"--output={out}"]
    again = call("synthesize", f"--workdir={runs('diffusion')}", *flags)
    assert again.status == 0, again.err
    assert again.out.count("nothing to do") == 2 and "carl is complete" in again.out
    assert sorted(listing(out)) == sorted(listing(done[0]))
    for name in ("anna", "bert"):
        for kind in ("sct", "sct_std"):
            one, other = (nib.load(p / kind / f"{name}.nii.gz") for p in (out, done[0]))
            np.testing.assert_array_equal(one.dataobj, other.dataobj)


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(usual, cohort, tmp_path):
    folder = shutil.copytree(cohort, tmp_path / "in")
    (folder / "anna.nii.gz").write_bytes((folder / "anna.nii.gz").read_bytes()[:-60])
    poisoned = np.full((20, 16, 4), np.nan, np.float32)
    nib.save(nib.Nifti1Image(poisoned, AFFINE), folder / "dora.nii")
    finished = call("synthesize", *usual, "--draws=1", f"--mr={folder}")
    assert finished.status == 2
    assert finished.error == "2 of 4 volumes were refused, and the others are done: anna, dora."
    refused = [line for line in finished.err.splitlines() if line.startswith("refused: ")]
    assert len(refused) == 2
    assert "anna.nii.gz is damaged" in refused[0] and "dora.nii holds 1280 voxels" in refused[1]
    assert {p for p in listing(tmp_path / "out") if "." in p} == {
        "bert.json", "sct/bert.nii.gz", "carl.json", "sct/carl.nii.gz"
    }  # fmt: skip


def test_a_patients_folder_may_have_a_backslash(usual, cohort, tmp_path):
    """`prepare` refuses such a name, because training data move between systems."""
    for name in ("anna", "bert"):
        folder = tmp_path / "in" / f"{name[0]}\\{name[1:]}"
        folder.mkdir(parents=True)
        shutil.copy(cohort / f"{name}.nii.gz", folder / "mr.nii.gz")
    for given in ("", "/*/mr.nii.gz"):
        flags = [*usual, "--draws=1", "--dicom", f"--mr={tmp_path / 'in'}{given}"]
        done = call("synthesize", *flags)
        assert done.status == 0, done.err
    assert "nothing to do" in done.out
    made = [path.name for path in sorted((tmp_path / "out" / "sct").iterdir())]
    assert made == ["a\\nna.nii.gz", "b\\ert.nii.gz"]


def test_masks_of_many_volumes_lie_in_a_folder(usual, cohort, tmp_path):
    mask = np.zeros((20, 16, 4), np.uint8)
    mask[4:16, 4:12] = 1
    (tmp_path / "masks").mkdir()
    for name in ("anna", "carl"):
        nib.save(nib.Nifti1Image(mask, AFFINE), tmp_path / "masks" / f"{name}.nii.gz")
    mrs = [f"--mr={cohort}/{name}.nii.gz" for name in ("anna", "carl")]
    one = call("synthesize", *usual, *mrs, f"--mask={tmp_path / 'masks' / 'anna.nii.gz'}").error
    assert "anna.nii.gz is one mask for 2 MRs: give a folder" in one
    finished = call("synthesize", *usual, "--draws=1", *mrs, f"--mask={tmp_path / 'masks'}")
    assert (
        "carl: MR and mask lie on different grids (shapes" in finished.err and finished.status == 2
    )
    told = json.loads((tmp_path / "out" / "anna.json").read_text())
    assert len(told["input"]["mask_sha256"]) == 64


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_undisturbed(done, runs, cohort, tmp_path):
    """SIGKILL at moments of every kind: starting, sampling, between two volumes, writing."""
    out = tmp_path / "out"
    command = [sys.executable, str(ROOT / "launch" / "synthesize.py"), "--sampler=em", "--draws=2"]
    command += [f"--workdir={runs('diffusion')}", f"--mr={cohort}", f"--output={out}"]
    for wait in (2.0, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0):
        child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            child.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
        for name in ("anna", "bert", "carl"):  # what is told to be there is there, whole
            if (out / f"{name}.json").exists():
                for kind in ("sct", "sct_std"):
                    nib.load(out / kind / f"{name}.nii.gz").get_fdata()
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert sorted(listing(out)) == sorted(listing(done[0]))
    for path in done[0].rglob("*.nii.gz"):
        one, other = nib.load(path), nib.load(out / path.relative_to(done[0]))
        np.testing.assert_array_equal(one.dataobj, other.dataobj)
