"""Several networks: their draws shared out, their disagreement apart from what each leaves open."""

import dataclasses
import json

import jax
import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.synthesis import DeepEnsemble, Synthesizer, load
from sde_ct.synthesis.ensemble import require_alike
from sde_ct.synthesis.synthetic_ct import combine
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import write_experiment
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.slice_grid import from_slices

from .. import tiny
from ..programs import call, listing


@pytest.fixture(scope="module")
def mr_file(phantoms):
    (case,) = phantoms.of("test")
    return str(case.folder / "mr.nii.gz")


@pytest.fixture(scope="module")
def workdirs(runs, phantoms, tmp_path_factory):
    """`workdirs(method)`: a trained network and another, whose weights are not quite the same."""
    root = tmp_path_factory.mktemp("networks")

    def two(method):
        first, second = runs(method), root / method
        if not second.exists():
            config, data = tiny.experiment(method, seed=1), load(first).data
            like = tiny.initial_state(config, phantoms)
            state, progress = Checkpoints(first).restore(lambda: like)
            write_experiment(second, config, data)
            state = jax.tree.map(nudge, state)
            weights = build_method(config).weights(state)
            Checkpoints(second).save(24, state, weights, progress)
        return first, second

    return two


def nudge(x):
    """Weights 5 % larger."""
    return x * 1.05 if np.issubdtype(x.dtype, np.floating) else x


@pytest.fixture(scope="module")
def drawn(workdirs, mr_file):
    """What the two networks say alone, three draws each, and together."""
    members = [Synthesizer(load(w), "em", jax.devices()[:1]) for w in workdirs("diffusion")]
    mr = read_volume(mr_file, "a.u.")
    alone = [m.draw(mr, case="one", draws=3, first=3 * n) for n, m in enumerate(members)]
    return alone, DeepEnsemble(members)(mr, case="one", draws=6)


def test_the_draws_are_shared_out_and_share_no_noise(drawn):
    """One network alone gives its draws; the other's are those of other numbers."""
    (one, other), together = drawn
    assert len(together.draws) == 6
    for n, hu in enumerate([*one.hu, *other.hu]):
        alone = from_slices(hu, one.given.grid, fill=-1000)
        np.testing.assert_array_equal(together.draws[n].array, alone.array)
    # The networks are nearly one: with the same noise their draws would nearly be one, too.
    near = [np.abs(a - b).mean() for a, b in zip(one.hu, other.hu, strict=True)]
    assert min(near) > 0.5 * np.abs(one.hu[0] - one.hu[1]).mean()


def test_variances_within_and_between_add_up(drawn):
    _, together = drawn
    within, between, spread = (
        v.array.astype(np.float64) for v in (together.within, together.between, together.spread)
    )
    plain = between > 0  # elsewhere it was below 0 by chance
    assert 0.1 < plain.mean() < 0.9
    np.testing.assert_allclose(np.hypot(within, between)[plain], spread[plain], rtol=1e-3)
    assert (spread[~plain] <= within[~plain] * (1 + 1e-3)).all()


@pytest.mark.parametrize(("apart", "noise"), [(0.0, 60.0), (90.0, 60.0), (90.0, 0.0)])
def test_a_known_disagreement_is_found(drawn, apart, noise):
    """Four networks, their means normal with `apart` HU, 12 draws each normal with `noise` HU.

    Over 2880 voxels a root mean square of 3 degrees of freedom each is good to 1/√(2 · 3 · 2880) =
    0.8 %, and the share of the draws' noise in the means is subtracted; 5 % is six times that. A
    disagreement of none leaves what is cut off at 0: half of a noise of 60/√12 HU.
    """
    like, rng = drawn[0][0], np.random.default_rng(0)
    shape = like.hu.shape[1:]
    members = [
        like._replace(hu=rng.normal(0, apart, shape) + rng.normal(0, noise, (12, *shape)))
        for _ in range(4)
    ]
    found = combine(members, -1000)
    within, between, spread = (
        np.sqrt(np.square(v.array, dtype=np.float64).mean())
        for v in (found.within, found.between, found.spread)
    )
    np.testing.assert_allclose(within, noise, rtol=0.05, atol=1e-9)
    np.testing.assert_allclose(spread, np.hypot(apart, noise), rtol=0.05)
    if apart:
        np.testing.assert_allclose(between, apart, rtol=0.05)
    else:
        assert between < noise / np.sqrt(12)


def test_what_draws_share_after_interpolation_is_split_and_no_more(workdirs, phantoms):
    """Networks with pixels of 32 mm on an MR of 16 mm: the parts are those of the draws written."""
    (case,) = phantoms.of("test")
    networks = [load(w) for w in workdirs("diffusion")]
    networks = [n._replace(data=n.data | {"spacing": [32.0, 32.0]}) for n in networks]
    members = [Synthesizer(one, "em", jax.devices()[:1]) for one in networks]
    ct = DeepEnsemble(members)(case.volume("mr"), case="one", draws=4)
    draws = np.stack([draw.array for draw in ct.draws]).astype(float)
    within = np.mean([draws[:2].var(0, ddof=1), draws[2:].var(0, ddof=1)], axis=0)
    np.testing.assert_allclose(ct.within.array, np.sqrt(within), atol=1e-3)
    means = [draws[:2].mean(0), draws[2:].mean(0)]
    between = np.maximum(np.var(means, axis=0, ddof=1) - within / 2, 0)
    np.testing.assert_allclose(ct.between.array, np.sqrt(between), atol=1e-2)


def test_networks_without_randomness_only_disagree(workdirs, mr_file, tmp_path):
    one, other = workdirs("cnn")
    usual = [f"--workdir={one}", f"--workdir={other}", f"--mr={mr_file}"]
    done = call("synthesize", *usual, f"--output={tmp_path}", "--save_draws")
    assert done.status == 0 and "2 draws of 2 networks" in done.out, done.err
    files = {p for p in listing(tmp_path) if p.endswith(".gz")}
    name = next(tmp_path.glob("*.json")).stem
    kinds = {f"{kind}/{name}.nii.gz" for kind in ("sct", "sct_std", "sct_std_between")}
    assert files == kinds | {f"draws/{name}_{n:02d}.nii.gz" for n in range(2)}
    first, second, spread = (
        np.asarray(nib.load(tmp_path / p).dataobj, float)
        for p in (f"draws/{name}_00.nii.gz", f"draws/{name}_01.nii.gz", f"sct_std/{name}.nii.gz")
    )
    # Of two values the deviation is |a - b|/√2; files hold whole HU.
    np.testing.assert_allclose(spread, np.abs(first - second) / np.sqrt(2), atol=1.3)
    assert spread.max() > 1


def test_files_and_sidecar_of_two_networks(workdirs, mr_file, tmp_path):
    workdir = workdirs("diffusion")
    usual = [f"--workdir={w}" for w in workdir]
    usual += [f"--mr={mr_file}", "--sampler=em", f"--output={tmp_path}"]
    for draws, sentence in {
        3: "draws=3 for 2 networks: give a multiple of 2",
        2: "draws=2 for 2 networks: give 2 draws per network or more",
        0: "draws=0 for 2 networks",
    }.items():
        assert sentence in call("synthesize", *usual, f"--draws={draws}").error
    assert not listing(tmp_path)
    done = call("synthesize", *usual, "--draws=4")
    assert done.status == 0 and "4 draws of 2 networks" in done.out, done.err
    (sidecar,) = tmp_path.glob("*.json")
    told = json.loads(sidecar.read_text())
    assert told["workdirs"] == [str(w) for w in workdir] and told["draws"] == 4
    assert [c["weights_sha256"] for c in told["checkpoints"]] == [load(w).sha256() for w in workdir]
    assert [c["configuration"]["training"]["seed"] for c in told["checkpoints"]] == [0, 1]
    for kind in ("sct", "sct_std", "sct_std_within", "sct_std_between"):
        assert nib.load(tmp_path / kind / f"{sidecar.stem}.nii.gz").get_data_dtype() == np.int16
    one = call("synthesize", *usual[1:], "--draws=4").error
    assert "describes another request (checkpoints.0.weights_sha256" in one


def test_networks_that_are_not_alike_are_refused(runs, workdirs):
    first, second = (load(w) for w in workdirs("diffusion"))
    require_alike([("a", first), ("b", second)])
    cnn = load(runs("cnn"))
    near = dataclasses.replace(
        first.config, data=dataclasses.replace(first.config.data, neighbours=1)
    )
    network = dataclasses.replace(first.config.network, multipliers=(1, 1))
    deep = second._replace(config=dataclasses.replace(second.config, network=network))
    large = second._replace(data=second.data | {"size": [40, 40]})
    for networks, sentence in [
        ([("a", first), ("b", cnn)], r"a and b differ in method \(diffusion and cnn\)"),
        ([("a", first), ("b", large)], r"a and b differ in size"),
        ([("a", first), ("b", deep)], r"differ in multiple of the slices' sides \(2 and 4\)"),
        ([("a", first), ("b", second._replace(config=near))], r"differ in neighbours \(0 and 1\)"),
        ([("a", first), ("b", second), ("c", first)], "a and c are the same network"),
        ([("a", first), ("a", first)], "a and a are the same network"),
    ]:
        with pytest.raises(InputError, match=sentence):
            require_alike(networks)
