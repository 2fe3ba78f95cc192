"""From a checkpoint and an MR file to a synthetic CT on the MR's own grid."""

import dataclasses
import json
import shutil

import jax
import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.runtime import host_memory, scratch
from sde_ct.synthesis import Synthesizer, load
from sde_ct.synthesis.batched import LARGEST, Batched, samples_that_fit
from sde_ct.synthesis.synthetic_ct import combine
from sde_ct.training.data import describe
from sde_ct.training.experiment import write_experiment
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Volume

from .. import tiny
from ..programs import call, listing


def oblique() -> np.ndarray:
    """Axes turned by 20° and 10°, the first and the last flipped, spacing 14 x 17 x 9 mm."""
    a, b = np.deg2rad([20, 10])
    about_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_z) @ np.array(about_x) @ np.diag([-14.0, 17.0, -9.0])
    affine[:3, 3] = [91.5, -120.25, 33.125]
    return affine


@pytest.fixture(scope="module")
def mr_file(tmp_path_factory):
    """An MR of odd size; an ellipsoid of tissue with a dark core in noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (23, 17, 7)), indexing="ij")
    radius = x**2 + y**2 + 0.2 * z**2
    mr = np.where(radius < 0.1, 40.0, np.where(radius < 0.8, 300.0 + 60 * x, 5.0))
    mr += np.random.default_rng(0).uniform(0, 5, mr.shape)
    path = tmp_path_factory.mktemp("mr") / "knee.nii.gz"
    nib.save(nib.Nifti1Image(mr.astype(np.float32), oblique()), path)
    return path


@pytest.fixture(scope="module")
def trained(runs):
    return load(runs("diffusion"))


@pytest.fixture(scope="module")
def synthesizers(trained):
    """By EM; one compilation for each number of devices and size of slices."""
    return {n: Synthesizer(trained, "em", jax.devices()[:n]) for n in (1, 4)}


@pytest.fixture(scope="module")
def draws_of(synthesizers, mr_file):
    """`draws_of(devices, **options)`: a synthetic CT."""
    mr = read_volume(mr_file, "a.u.")
    return lambda devices=1, mr=mr, **options: synthesizers[devices](mr, case="knee", **options)


def test_a_ct_lies_on_the_mrs_own_grid_in_hu(runs, mr_file, tmp_path):
    arguments = [f"--workdir={runs('diffusion')}", f"--mr={mr_file}", "--sampler=em"]
    done = call("synthesize", *arguments, f"--output={tmp_path}", "--draws=2", "--save_draws")
    assert done.status == 0, done.err
    assert "7 slices, 2 draws, 12 network evaluations" in done.out
    wanted = ["sct/knee", "sct_std/knee", "draws/knee_00", "draws/knee_01"]
    assert {p for p in listing(tmp_path) if "nii" in p} == {f"{p}.nii.gz" for p in wanted}
    images = {p: nib.load(tmp_path / f"{p}.nii.gz") for p in wanted}
    for image in images.values():
        assert image.shape == (23, 17, 7) and image.get_data_dtype() == np.int16
        np.testing.assert_allclose(image.affine, oblique(), atol=1e-5)  # stored as float32
        assert image.header.get_xyzt_units()[0] == "mm"
        assert int(image.header["sform_code"]) > 0 and int(image.header["qform_code"]) > 0
    mean, spread, *draws = (np.asarray(image.dataobj, float) for image in images.values())
    assert -1000 <= mean.min() < -700 and mean.max() <= 2000  # the window; corners are air
    # Rounding to whole HU: half a unit for each file.
    np.testing.assert_allclose(mean, np.mean(draws, axis=0), atol=1)
    np.testing.assert_allclose(spread, np.std(draws, axis=0, ddof=1), atol=1.3)
    assert np.median(spread) > 1


def test_draws_in_a_file_equal_draws_in_memory(draws_of, monkeypatch):
    in_memory = draws_of(draws=3)
    monkeypatch.setattr(scratch, "LARGE", 0)
    in_file = draws_of(draws=3)
    for one, other in zip(in_memory.draws, in_file.draws, strict=True):
        np.testing.assert_array_equal(one.array, other.array)
    np.testing.assert_array_equal(in_memory.spread.array, in_file.spread.array)


@pytest.mark.parametrize("sheared", [False, True])
def test_outputs_keep_the_mrs_space_and_a_note_says_where_a_qform_cannot(
    runs, mr_file, tmp_path, sheared
):
    mr, shear = nib.load(mr_file), np.eye(4)
    shear[0, 2] = 0.3 * sheared
    mr.set_sform(shear @ mr.affine, code=4)
    mr.set_qform(None)
    nib.save(mr, tmp_path / "knee.nii.gz")
    arguments = [f"--workdir={runs('cnn')}", f"--mr={tmp_path / 'knee.nii.gz'}"]
    done = call("synthesize", *arguments, f"--output={tmp_path / 'out'}")
    assert done.status == 0, done.err
    ct = nib.load(tmp_path / "out" / "sct" / "knee.nii.gz")
    assert (ct.header["sform_code"], ct.header["qform_code"]) == (4, 0 if sheared else 4)
    np.testing.assert_allclose(ct.affine, mr.affine, rtol=0, atol=1e-3)  # stored as float32
    notes = json.loads((tmp_path / "out" / "knee.json").read_text()).get("notes", [])
    assert [("qform_code 0" in note) for note in notes] == [True] * sheared
    assert all(f"note: {note}" in done.out for note in notes)
    assert ("note:" in done.out) == sheared


@pytest.mark.parametrize("pixel", [8.0, 32.0])
def test_the_spread_is_that_of_the_draws_on_the_mrs_own_grid(trained, held_out, pixel):
    """A network with pixels of half and of twice the MR's 16 mm: the draws are interpolated."""
    other = trained._replace(data=trained.data | {"spacing": [pixel, pixel]})
    ct = Synthesizer(other, "em", jax.devices()[:1])(**held_out, draws=3)
    draws = np.stack([draw.array for draw in ct.draws])
    np.testing.assert_allclose(ct.mean.array, draws.mean(0, dtype=float), atol=1e-3)
    np.testing.assert_allclose(ct.spread.array, draws.std(0, ddof=1, dtype=float), atol=1e-3)


def test_another_orientation_of_the_array_gives_the_same_ct(draws_of, mr_file):
    """The same voxels stored flipped and with axes swapped: the CT is stored so too."""
    mr = read_volume(mr_file, "a.u.")
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = mr.array.shape[1] - 1
    flipped = Volume(np.ascontiguousarray(mr.array[:, ::-1]), mr.affine @ flip, mr.unit)
    one, other = draws_of(draws=1), draws_of(draws=1, mr=flipped)
    np.testing.assert_array_equal(one.mean.array, other.mean.array[:, ::-1])
    np.testing.assert_array_equal(other.mean.affine, flipped.affine)


def test_a_draw_does_not_depend_on_what_is_drawn_beside_it(draws_of, mr_file):
    two, three = draws_of(draws=2), draws_of(draws=3)
    for one, other in zip(two.draws, three.draws, strict=False):
        np.testing.assert_array_equal(one.array, other.array)
    assert not np.array_equal(two.draws[0].array, two.draws[1].array)
    assert not np.array_equal(two.draws[0].array, draws_of(draws=1, seed=1).draws[0].array)


def test_a_slice_alone_equals_the_slice_in_its_volume(draws_of):
    """Every slice holds the same grey values elsewhere, so that the MR's scaling is the same."""
    pattern = np.clip(np.random.default_rng(1).uniform(-50, 350, (22, 18)), 0, 300)
    slices = np.stack([np.roll(pattern, 3 * z, axis=0) for z in range(20)], axis=-1)
    affine = np.diag([16.0, 16.0, 16.0, 1.0])

    def draw(array):
        body = Volume(np.ones(array.shape, np.uint8), affine, "mask")
        return draws_of(mr=Volume(array, affine, "a.u."), mask=body, draws=1).mean.array

    # 20 slices fill one batch and begin another; one slice is repeated to fill its batch.
    np.testing.assert_array_equal(draw(slices)[..., :1], draw(slices[..., :1]))


def test_one_and_four_devices_give_the_same_voxels(draws_of):
    one, four = draws_of(1, draws=3), draws_of(4, draws=3)
    # float32 of 2000 HU is good to 1e-4. The two programs may round differently, no more; a voxel
    # of the file then differs only where the HU lie half-way between two whole numbers.
    for a, b in zip((one.mean, *one.draws), (four.mean, *four.draws), strict=True):
        np.testing.assert_allclose(a.array, b.array, atol=2e-3)
        assert np.sum(np.rint(a.array) != np.rint(b.array)) <= 2
    assert (one.evaluations, one.slices) == (four.evaluations, four.slices) == (12.0, 7)


def test_one_draw_has_no_spread(draws_of):
    ct = draws_of(draws=1)
    assert ct.spread is None and len(ct.draws) == 1
    np.testing.assert_array_equal(ct.mean.array, ct.draws[0].array)


def test_a_cnn_draws_once(runs, mr_file, tmp_path):
    renamed = tmp_path / "in" / "mr_knee.nii.gz"
    renamed.parent.mkdir()
    mr_file, tmp_path = shutil.copy(mr_file, renamed), tmp_path / "out"
    tmp_path.mkdir()
    arguments = [f"--workdir={runs('cnn')}", f"--mr={mr_file}", f"--output={tmp_path}"]
    assert "give 1" in call("synthesize", *arguments, "--draws=3").error
    assert (
        "has no sampler: leave out sampler='em'"
        in call("synthesize", *arguments, "--sampler=em").error
    )
    assert not list(tmp_path.iterdir())
    done = call("synthesize", *arguments)
    assert done.status == 0 and "1 draw, 1 network evaluation and" in done.out, done.err
    assert list(listing(tmp_path)) == ["mr_knee.json", "sct", "sct/mr_knee.nii.gz"]


def test_an_unfinished_draw_is_no_ct(runs, mr_file):
    trained = load(runs("diffusion"))
    bad = jax.tree.map(lambda x: x * np.nan, trained.params)
    synthesize = Synthesizer(trained._replace(params=bad), "em", jax.devices()[:1])
    with pytest.raises(InputError, match="knee: 7 of 7 draws are not finite or did not reach"):
        synthesize(read_volume(mr_file, "a.u."), case="knee", draws=1)


@pytest.fixture(scope="module")
def held_out(phantoms):
    (case,) = phantoms.of("test")
    mr, mask = case.volume("mr"), case.volume("mask")
    return {"mr": mr, "mask": mask, "case": case.id}


def test_a_patient_like_those_of_the_training_gives_no_warning(
    trained, synthesizers, held_out, monkeypatch
):
    assert synthesizers[1](**held_out, draws=2).warnings == ()
    monkeypatch.delitem(trained.data, "seen")
    (warning,) = synthesizers[1](**held_out, draws=2).warnings
    assert warning.startswith("Not checked")


def test_draws_that_agree_are_warned_of(synthesizers, held_out):
    """The network's draws scatter by some 100 HU; a thousandth of that is lost in the files."""
    drawn = synthesizers[1].draw(**held_out, draws=3)
    mean = drawn.hu.mean(0, keepdims=True)
    agreeing = drawn._replace(hu=mean + 1e-3 * (drawn.hu - mean))
    assert combine([drawn], -1000).warnings == ()
    (warning,) = combine([agreeing], -1000).warnings
    assert "nearly equal" in warning and "3 draws have a mean spread" in warning
    assert combine([agreeing._replace(hu=mean)], -1000).warnings == ()  # one draw has no spread


REFUSED = {
    "draws": (["--draws=0"], "draws=0: give 1 to 10000"),
    "negative draws": (["--draws=-3"], "draws=-3: give 1 to 10000"),
    "no sampler": (["--sampler="], "ddpm, em, pc, ode"),
    "adaptive": (["--sampler=ode", "--evaluations=9"], "The ODE's evaluations are adaptive"),
    "few": (
        ["--sampler=heun", "--evaluations=2"],
        "2 evaluations are too few: heun needs 13 or more",
    ),
    "unknown sampler": (
        ["--sampler=milstein"],
        "Unknown sampler 'milstein': give one of ddpm, em, pc",
    ),
    "no workdir": (["--workdir=nowhere"], "nowhere is not a work directory"),
    "no MR": (["--mr=nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
    "no mask": (["--mask=nowhere.nii.gz"], "nowhere.nii.gz does not exist"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_synthesized_is_one_sentence(name, runs, mr_file, tmp_path):
    flags, sentence = REFUSED[name]
    workdir = runs("diffusion")
    before = listing(workdir)
    usual = [f"--workdir={workdir}", f"--mr={mr_file}", "--sampler=em", f"--output={tmp_path}"]
    assert sentence in call("synthesize", *usual, *flags).error
    assert not list(tmp_path.iterdir()) and listing(workdir) == before


@pytest.mark.parametrize("there", ["sct/knee", "sct_std/knee", "draws/knee_01"])
def test_nothing_is_overwritten(there, runs, mr_file, tmp_path):
    path = tmp_path / f"{there}.nii.gz"
    path.parent.mkdir()
    path.write_text("mine")
    before = listing(tmp_path)
    usual = [f"--workdir={runs('diffusion')}", f"--mr={mr_file}", "--sampler=em", "--save_draws"]
    done = call("synthesize", *usual, f"--output={tmp_path}", "--draws=2")
    assert done.error.startswith(f"{path} exists") and listing(tmp_path) == before


def test_a_workdir_without_a_checkpoint_stays_as_it_is(phantoms, mr_file, tmp_path):
    config = tiny.experiment()
    write_experiment(tmp_path / "run", config, describe(config.data, phantoms))
    before = listing(tmp_path)
    done = call(
        "synthesize", f"--workdir={tmp_path / 'run'}", f"--mr={mr_file}", "--sampler=em",
        f"--output={tmp_path / 'out'}",
    )  # fmt: skip
    assert "holds no checkpoint yet: train first" in done.error and listing(tmp_path) == before


def test_the_batch_follows_the_memory():
    assert samples_that_fit(10.0, 1.0) == 8 and samples_that_fit(9.9, 1.0) == 4
    assert samples_that_fit(1.0, 10.0) == 1 and samples_that_fit(1e12, 1.0) == LARGEST


def test_a_batch_of_another_size_gives_the_same_ct(draws_of, runs, mr_file):
    """To rounding: the sums of a convolution may run in another order."""
    mr = read_volume(mr_file, "a.u.")
    one_by_one = Synthesizer(load(runs("diffusion")), "em", jax.devices()[:1], batch=3)
    found, expected = one_by_one(mr, case="knee", draws=2), draws_of(draws=2)
    for a, b in zip(found.draws, expected.draws, strict=True):
        assert np.abs(a.array.astype(int) - b.array.astype(int)).max() <= 1


def test_on_a_cpu_only_as_many_devices_draw_as_the_memory_holds(
    draws_of, runs, mr_file, monkeypatch, capsys
):
    assert len(jax.local_devices()) > 1
    monkeypatch.setattr(host_memory, "available", lambda: 1000)
    mr, expected = read_volume(mr_file, "a.u."), draws_of(draws=2)
    found = Synthesizer(load(runs("diffusion")), "em")(mr, case="knee", draws=2)
    shown = f"1 of {len(jax.local_devices())} cores draw: each takes 0.0 GB of memory.\n"
    assert capsys.readouterr().out == shown
    for a, b in zip(found.draws, expected.draws, strict=True):  # sums in another order
        assert np.abs(a.array.astype(int) - b.array.astype(int)).max() <= 1


def test_the_batch_can_be_set_and_is_no_other_request(runs, mr_file, tmp_path, monkeypatch):
    asked = []

    def compile(self, shape, batch, along_z):
        asked.append(batch)
        return original(self, shape, batch, along_z)

    original = Batched._compile
    monkeypatch.setattr(Batched, "_compile", compile)
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_file}", f"--output={tmp_path / 'out'}"]
    assert call("synthesize", *usual, "--batch=2").status == 0 and asked == [2]
    assert "nothing to do" in call("synthesize", *usual).out
    assert "--batch=0: " in call("synthesize", *usual, "--batch=0").err


def test_shared_noise_gives_equal_slices_of_a_draw_for_equal_slices_of_the_mr(trained, mr_file):
    mr = read_volume(mr_file, "a.u.")
    same = mr.with_array(np.repeat(mr.array[..., 3:4], mr.array.shape[2], axis=2))
    sampling = dataclasses.replace(trained.config.sampling, shared_noise=True)
    config = dataclasses.replace(trained.config, sampling=sampling)
    shared = Synthesizer(trained._replace(config=config), "em", jax.devices()[:1])
    draws = [draw.array for draw in shared(same, case="knee", draws=2).draws]
    for draw in draws:
        # 1 HU of 3000: the rounding of the network's float32 sums, whose place in the batch differs
        np.testing.assert_allclose(draw, np.repeat(draw[..., :1], draw.shape[2], 2), atol=1.0)
    assert np.abs(draws[0] - draws[1]).max() > 10  # an untrained network's draws stay apart


def test_a_draw_with_dropout_is_one_network_for_all_slices(phantoms, mr_file, tmp_path):
    """Slices are drawn apart, with one key for the draw."""
    config = tiny.experiment("cnn")
    config.network.dropout = 0.3
    trained = load(tiny.untrained(config, phantoms, tmp_path / "run"))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), trained.params)
    mr = read_volume(mr_file, "a.u.")
    same = mr.with_array(np.repeat(mr.array[..., 3:4], mr.array.shape[2], axis=2))
    draw = Synthesizer(trained._replace(params=params), None, jax.devices()[:1])
    draws = [one.array for one in draw(same, case="knee", draws=2).draws]
    for one in draws:  # 1 HU of 3000, as above
        np.testing.assert_allclose(one, np.repeat(one[..., :1], one.shape[2], 2), atol=1.0)
    assert np.abs(draws[0] - draws[1]).max() > 10
