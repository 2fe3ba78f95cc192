"""The training loop: resuming, devices, compilations, what it writes and what it refuses."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.runtime import parallel
from sde_ct.synthesis import load
from sde_ct.training import run, validation
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import examples_of
from sde_ct.training.experiment import read_experiment
from sde_ct.training.state import fresh_state
from sde_ct.training.telemetry import Telemetry
from sde_ct.training.validation import validation_batches, validator

from .. import tiny
from ..programs import listing
from . import cheap


def leaves(state) -> list[np.ndarray]:
    return jax.tree.leaves(jax.device_get(state))


def restored(workdir, config, size):
    """The newest checkpoint's state, as it lies on disk."""
    method = build_method(config)
    return Checkpoints(workdir).restore(lambda: fresh_state(method, config, size))


@pytest.mark.parametrize("method", ["diffusion", pytest.param("gan", marks=pytest.mark.slow)])
def test_stopped_and_resumed_is_uninterrupted_bit_for_bit(method, runs, phantoms, tmp_path):
    config, whole = tiny.experiment(method), runs(method)
    tiny.train(config, phantoms, tmp_path, stop_at=7)
    assert Checkpoints(tmp_path).latest == 7
    state = tiny.train(config, phantoms, tmp_path)
    expected, iterator = restored(whole, config, phantoms.size)
    assert parallel.replicas_agree(state) and len(jax.tree.leaves(state)[0].addressable_shards) == 4
    step = state.generator.step if method == "gan" else state.step
    assert int(step) == 24 and iterator == restored(tmp_path, config, phantoms.size)[1]
    assert len(leaves(state)) == len(leaves(expected))
    for one, other in zip(leaves(state), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_run_stays_as_it_is(runs, phantoms):
    before = listing(runs("diffusion") / "checkpoints")
    assert int(tiny.train(tiny.experiment(), phantoms, runs("diffusion")).step) == 24
    assert listing(runs("diffusion") / "checkpoints") == before


@pytest.mark.slow
def test_one_device_trains_as_four(runs, phantoms, tmp_path, monkeypatch):
    """Also counts compilations: none after the first step, neither of the step nor beside it."""
    compiled, steps = [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if "/compile/" in event else None
    )
    advance = Telemetry.advance
    monkeypatch.setattr(Telemetry, "advance", lambda t: (steps.append(len(compiled)), advance(t)))
    config = tiny.experiment(log_every=100, validate_every=100, checkpoint_every=100)
    one = tiny.train(config, phantoms, tmp_path, devices=1)
    assert len(steps) == 24 and steps[0] > 0 and steps[-1] == steps[0]

    four, _ = restored(runs("diffusion"), config, phantoms.size)
    start = tiny.initial_state(config, phantoms)
    way, gap = norm_of_difference(one, start), norm_of_difference(one, four)
    # The same sums in another order. Adam divides by the gradient's size, which turns the rounding
    # of near-zero gradients into steps of the learning rate, hence a share of the way gone.
    assert way > 1 and gap < 1e-2 * way


def norm_of_difference(a, b) -> float:
    return float(
        np.sqrt(sum(np.sum((x - y) ** 2) for x, y in zip(*map(weights, (a, b)), strict=True)))
    )


def weights(state) -> list[np.ndarray]:
    return leaves(state.params)


def test_figures_and_images_are_written(runs, phantoms):
    workdir = runs("gan")
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["group"] == "train"]
    assert [line["step"] for line in train] == [4, 8, 12, 16, 20, 24]
    assert {"loss", "l1", "game", "discriminator", "gradient_norm"} <= set(train[0])
    assert [line["step"] for line in lines if line["group"] == "validation"] == [12, 24]
    assert train[-1]["l1"] < train[0]["l1"]
    tags = set(event_tags(next((workdir / "tensorboard").iterdir())))
    assert {"train/loss", "validation/loss", "mr", "ct", "synthetic"} <= tags
    config, data = read_experiment(workdir)
    assert config == tiny.experiment("gan") and tuple(data["size"]) == phantoms.size
    versions = json.loads((workdir / "experiment.json").read_text())["versions"]
    assert versions["jax"] == jax.__version__


def event_tags(path):
    """The tags of a TensorBoard file: records of length (8 bytes), CRC (4), event, CRC (4)."""
    content, start = path.read_bytes(), 0
    while start < len(content):
        length = int.from_bytes(content[start : start + 8], "little")
        event = Event.FromString(content[start + 12 : start + 12 + length])
        yield from (value.tag for value in event.summary.value)
        start += 16 + length


def test_the_loss_falls(runs):
    lines = (runs("diffusion") / "metrics.jsonl").read_text().splitlines()
    losses = [r["loss"] for r in map(json.loads, lines) if r["group"] == "validation"]
    assert losses[-1] < losses[0] < 1.0  # 1 is the loss of an untrained preconditioned network


def test_another_configuration_or_other_data_are_refused(runs, phantoms, tmp_path):
    workdir = runs("diffusion")
    before = listing(workdir)
    other = tiny.experiment()
    other.sde.sigma_max = 20.0
    with pytest.raises(InputError, match=r"another configuration \(sde\.sigma_max: 10\.0 -> 20\.0"):
        tiny.train(other, phantoms, workdir)
    cases = dict(zip(phantoms.cases, reversed(phantoms.cases.values()), strict=True))
    swapped = dataclasses.replace(phantoms, cases=cases)
    with pytest.raises(InputError, match=r"other data.*--workdir"):
        tiny.train(tiny.experiment(), swapped, workdir)
    assert listing(workdir) == before


def test_a_start_that_saved_nothing_binds_nobody(phantoms, tmp_path, monkeypatch):
    """As one whose first step ran out of memory: the mended configuration may follow."""
    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "go_on", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tiny.train(tiny.experiment(), phantoms, tmp_path)
    smaller = tiny.experiment("cnn", steps=2)
    smaller.data.batch_size = 4
    tiny.train(smaller, phantoms, tmp_path)
    assert read_experiment(tmp_path)[0] == smaller


@pytest.mark.slow
def test_a_validation_batch_is_as_large_as_a_devices_part_and_the_loss_the_same(phantoms, tmp_path):
    config, slices = tiny.experiment(), len(phantoms.of("validation")[0])
    losses = {}
    for devices, each in ((1, 8), (2, 4), (8, 1)):
        batches = validation_batches(config, phantoms, devices)
        sizes = [len(batch.mr) for batch in batches]
        assert sum(sizes) == slices == 6 and max(sizes) <= each
        if devices == 8:  # batches of one
            continue
        with Telemetry(tmp_path, "", 0, 1, batch=8, show=False) as telemetry:
            validate = validator(config, batches, telemetry)
            losses[devices] = validate(tiny.initial_state(config, phantoms), 0)
    # The noise belongs to the slice; what is left is the order of float32 sums.
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


def test_validation_slices_are_spread_over_all_patients(phantoms, monkeypatch):
    """The first ones in order would all be of one patient, and of one end of the body."""
    monkeypatch.setattr(validation, "SLICES", 6)
    monkeypatch.setattr(validation, "LEAST", 1)
    names = tuple(phantoms.split["train"])  # three patients of six slices
    several = dataclasses.replace(phantoms, split={**phantoms.split, "validation": names})
    [batch] = validation_batches(tiny.experiment(), several, devices=1)
    assert batch.patient.tolist() == [0, 0, 1, 1, 2, 2]
    source = examples_of(tiny.experiment().data, several, "validation")
    numbers = [
        i for ct in batch.ct for i in range(len(source)) if np.array_equal(ct, source[i]["ct"])
    ]
    assert [source.where(i) for i in numbers] == [(name, z) for name in names for z in (1, 4)]


def test_the_best_checkpoint_stays_and_synthesis_takes_it(phantoms, tmp_path, monkeypatch):
    losses = {3: 0.2, 6: float("nan"), 8: 0.3}  # step 3 is no scheduled checkpoint
    monkeypatch.setattr(run, "validator", lambda *_: lambda state, step: {"loss": losses[step]})
    config = cheap.experiment(validate_every=3, keep_checkpoints=1)
    cheap.train(config, phantoms, tmp_path)
    assert Checkpoints(tmp_path).steps == [3, 8]
    best, newest = load(tmp_path), load(tmp_path, "newest")
    assert (best.step, best.chosen) == (3, "best")
    assert (newest.step, newest.chosen) == (8, "newest")
    saved = cheap.saved_state(tmp_path, 3)
    np.testing.assert_array_equal(cheap.vector(best.params), saved["ema"])


UNFIT = {
    "batch": ({"batch_size": 6}, r"config\.data\.batch_size=6 .* 4 devices"),
    "neighbours": ({"neighbours": 3}, r"1PA001 has 6 slices, but the network needs 7"),
    "slices": ({"z_slices": "9:"}, r"no measured slices in z_slices='9:'"),
    "notation": ({"z_slices": "even"}, r"z_slices = 'even'"),
    "turns": ({"rotate90": True}, "rotate90 needs square slices"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_unfit_data_are_refused_before_anything_is_written(name, phantoms, tmp_path):
    """Else the mended configuration would be refused as another one."""
    change, message = UNFIT[name]
    config = tiny.experiment()
    config.data = dataclasses.replace(config.data, **change)
    with pytest.raises(InputError, match=message):
        tiny.train(config, phantoms, tmp_path / "run", devices=4)
    assert not list(tmp_path.iterdir())


def test_slices_that_do_not_fit_the_network_are_refused(phantoms, tmp_path):
    config = tiny.experiment()
    config.network.patch = 16
    with pytest.raises(InputError, match=r"20 x 24.*multiples of 16.*--size"):
        tiny.train(config, phantoms, tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        tiny.train(tiny.experiment(), phantoms, tmp_path / "file")
