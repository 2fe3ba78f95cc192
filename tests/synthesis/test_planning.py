"""`synthesize --rays`: the path lengths of the draws that are written, and what is refused."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from sde_ct.data.regions.body import body_mask
from sde_ct.lab.phantom.delineations import contours
from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.uncertainty.path_length import path_lengths
from sde_ct.uncertainty.rays import ray_matrix, rays_to, target_points
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Volume

from ..programs import call, listing

DRAWS, GANTRY = 3, (0, 90)
FILES = ["rays/{}.csv", "rays/{}.json", "rays/{}.png"]


@pytest.fixture(scope="module")
def patient(phantoms, tmp_path_factory):
    """The MR of the test patient, and a target in the middle of it as a mask and an RTSTRUCT."""
    (case,) = phantoms.of("test")
    folder = tmp_path_factory.mktemp("plan")
    mr = read_volume(case.folder / "mr.nii.gz", "a.u.")
    target = np.zeros(mr.array.shape, np.uint8)
    target[10:14, 8:12, 2:4] = 1
    nib.save(nib.Nifti1Image(target, mr.affine), folder / "target.nii.gz")
    rois = {"PTV": contours(Volume(target, mr.affine, "mask"))}
    owner = Invented("ID-4711", "Doe^Jane")
    save_all(folder, [structures(owner, "Plan", "MR", rois, {})], [1])
    return case.id, case.folder / "mr.nii.gz", folder


@pytest.fixture(scope="module")
def asked(runs, patient):
    """`asked(folder, *flags)`: a synthesis of this patient with a tiny network."""
    _, mr, _ = patient
    usual = [f"--workdir={runs('diffusion')}", f"--mr={mr}", "--sampler=em", f"--draws={DRAWS}"]
    return lambda folder, *flags: call("synthesize", *usual, f"--output={folder}", *flags)


@pytest.fixture(scope="module")
def done(asked, patient, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "out"
    target = f"--target={patient[2] / 'target.nii.gz'}"
    finished = asked(out, "--rays=0,90", target, "--save_draws")
    assert finished.status == 0, finished.err
    return out, finished


def test_the_lengths_are_those_of_the_draws_that_are_written(done, patient):
    out, finished = done
    name, path, folder = patient
    mr, target = read_volume(path, "a.u."), read_volume(folder / "target.nii.gz", "mask")
    draws = [read_volume(f, "a.u.").array for f in sorted((out / "draws").iterdir())]
    grid = mr.affine, mr.array.shape
    rays = rays_to(target_points(target.array, mr.affine), GANTRY, *grid)
    lengths = path_lengths(draws, ray_matrix(rays, *grid, within=body_mask(mr).array))
    values = json.loads((out / "rays" / f"{name}.json").read_text())
    # Files hold whole HU, and 0.5 HU change the RSP by at most 0.00067 along 250 mm of body.
    np.testing.assert_allclose(values["rays"]["mean"], lengths.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(values["rays"]["spread"], lengths.std(axis=0, ddof=1), atol=0.2)
    np.testing.assert_allclose(values["rays"]["lower"], lengths.min(axis=0), atol=0.2)
    assert np.ptp(lengths, axis=0).min() > 1  # the draws differ by more than that
    table = (out / "rays" / f"{name}.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table[1:]] == ["0", "90", "surface"]
    assert "90°" in finished.out and "the interval is the range of the 3 draws" in finished.out
    assert (out / "rays" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_sidecar_lists_the_files_and_keeps_them(done, asked, patient):
    out, _ = done
    name, _, folder = patient
    sidecar = json.loads((out / f"{name}.json").read_text())
    assert {file.format(name) for file in FILES} <= set(sidecar["results"])
    assert sidecar["rays"]["gantry"] == [0, 90] and len(sidecar["rays"]["target_sha256"]) == 64
    assert str(folder) not in json.dumps(sidecar)
    before, target = listing(out), f"--target={folder / 'target.nii.gz'}"
    again = asked(out, "--rays=0,90", target)
    assert "is complete: nothing to do" in again.out and listing(out) == before
    assert "rays.gantry.1: 90.0 -> 180.0" in asked(out, "--rays=0,180", target).error
    assert listing(out) == before


def test_contours_give_the_same_table_as_their_mask(done, asked, patient, tmp_path):
    name, _, folder = patient
    given = f"--target={folder / 'RTSTRUCT00001.dcm'}:PTV"
    finished = asked(tmp_path / "out", "--rays=0,90", given)
    assert finished.status == 0, finished.err
    for file in FILES:
        one, other = (place / file.format(name) for place in (done[0], tmp_path / "out"))
        assert one.read_bytes() == other.read_bytes(), file


def test_path_lengths_are_added_to_an_earlier_synthesis(asked, patient, done, tmp_path):
    name, _, folder = patient
    out, target = tmp_path / "out", f"--target={folder / 'target.nii.gz'}"
    assert asked(out).status == 0
    before = {path: text for path, text in listing(out).items() if path.startswith("sct")}
    shutil.copytree(out, tmp_path / "second")
    finished = asked(out, "--rays=0,90", target)
    assert finished.status == 0, finished.err
    after = listing(out)
    assert {path: after[path] for path in before} == before
    table = (out / f"rays/{name}.csv").read_bytes()
    assert table == (done[0] / f"rays/{name}.csv").read_bytes()
    (tmp_path / "second" / "rays").mkdir()
    (tmp_path / "second" / "rays" / f"{name}.csv").write_text("precious")
    error = asked(tmp_path / "second", "--rays=0,90", target).error
    assert f"rays/{name}.csv exists: give another --output" in error


def test_targets_of_several_mrs_lie_in_a_folder(runs, phantoms, patient, tmp_path):
    _, mr, folder = patient
    (other,) = phantoms.of("validation")
    usual = [f"--workdir={runs('diffusion')}", f"--mr={mr}", "--sampler=em", "--draws=2"]
    usual += [f"--mr={other.folder / 'mr.nii.gz'}", f"--output={tmp_path / 'out'}", "--rays=90"]
    error = call("synthesize", *usual, f"--target={folder / 'target.nii.gz'}").error
    assert "target.nii.gz is one target for 2 cases: give a folder" in error
    (tmp_path / "targets").mkdir()
    shutil.copy(folder / "target.nii.gz", tmp_path / "targets" / f"{patient[0]}.nii.gz")
    finished = call("synthesize", *usual, f"--target={tmp_path / 'targets'}")
    assert finished.status == 2 and f"holds no target for {other.id}" in finished.err
    assert (tmp_path / "out" / "rays" / f"{patient[0]}.csv").exists()


def test_a_single_draw_is_refused(asked, runs, patient, tmp_path):
    target = f"--target={patient[2] / 'target.nii.gz'}"
    out = tmp_path / "out"
    sentence = "a single draw has none: give --draws of 2 or more"
    assert sentence in asked(out, "--rays=0", target, "--draws=1").error
    usual = [f"--workdir={runs('cnn')}", f"--mr={patient[1]}", f"--output={out}", target]
    assert sentence in call("synthesize", *usual, "--rays=0").error
    assert not out.exists()
