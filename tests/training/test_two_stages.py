"""A training whose denoiser comes last: what it shows and saves before there are draws."""

import numpy as np

from sde_ct.methods import build_method
from sde_ct.methods.decomposition import scale_of
from sde_ct.methods.validated_scale import WIDEST, scale_of_draws
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import read_experiment
from sde_ct.training.state import fresh_state
from sde_ct.training.telemetry import METRICS, read_metrics
from sde_ct.training.weights import choose, read_weights, starting_weights, summary

from .. import tiny
from .test_loop import event_tags


def test_no_checkpoint_without_draws_is_the_best(runs):
    """The regression has 12 steps, and then the denoiser 12; each half ends with a validation."""
    workdir = runs("residual")
    lines = [line for line in read_metrics(workdir / METRICS) if line["group"] == "validation"]
    assert [line["step"] for line in lines] == [12, 24]
    assert lines[0]["loss"] is None and lines[0]["mean_loss"] > 0
    assert lines[1]["loss"] > 0 and lines[1]["mean_loss"] == lines[0]["mean_loss"]
    assert Checkpoints(workdir).best == 24
    [file] = (workdir / "tensorboard").iterdir()
    tags = list(event_tags(file))
    assert tags.count("ct") == 2 and tags.count("synthetic") == 1
    assert tags.count("validation/mean_loss") == 2 and tags.count("validation/loss") == 1


def test_a_training_that_is_stopped_before_the_denoiser_has_not_failed(phantoms, tmp_path):
    """Its validation loss is NaN by design, and the same command goes on."""
    config = tiny.experiment("residual", validate_every=6)
    tiny.train(config, phantoms, tmp_path, stop_at=6)
    assert Checkpoints(tmp_path).latest == 6


def test_synthesis_takes_the_residuals_scale_from_the_validation(runs):
    workdir = runs("residual")
    step, chosen = choose(workdir, "best")
    losses = Checkpoints(workdir).progress(step)["validation"]
    scale, usual = read_weights(workdir, step, chosen).params.scale, scale_of(losses["mean_error"])
    assert np.isfinite(scale_of_draws(losses)).all()
    expected = np.clip(scale_of_draws(losses), usual / WIDEST, usual * WIDEST)
    np.testing.assert_allclose(scale, expected, rtol=1e-6)  # float32


def test_a_training_starts_with_the_scale_of_training(runs):
    """The denoiser has learnt residuals of that scale; those of the validation have another."""
    workdir = runs("residual")
    step, chosen = choose(workdir, "best")
    config, data = read_experiment(workdir)
    method, size = build_method(config), tuple(data["size"])
    state, _ = Checkpoints(workdir).restore(lambda: fresh_state(method, config, size), step)
    params, source = starting_weights(workdir, config, size)
    assert source["step"] == step and float(params.scale) == float(state.scale)
    assert (read_weights(workdir, step, chosen).params.scale != params.scale).all()


def test_the_summary_names_the_checkpoint_of_synthesis(runs):
    workdir = runs("residual")
    step, loss = 24, Checkpoints(workdir).validation_loss(24)
    assert summary(workdir) == (
        f"{workdir}: trained to step {step}. Synthesis takes the checkpoint of step {step}, "
        f"the best by validation loss ({loss:.4g})."
    )
