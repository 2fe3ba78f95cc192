"""Warnings of spikes, of updates that are not finite and of dead discriminators."""

import math

import numpy as np
import pytest

from sde_ct.training.watch import WINDOW, Watch

QUIET = {"skipped": 0.0, "gradient_norm": 1.0}


def told(watch: Watch, losses, name: str = "loss", start: int = 0) -> dict[int, str]:
    found = {}
    for step, loss in enumerate(losses, start + 1):
        for sentence in watch.see(step, {"loss": 1.0, **QUIET, name: loss}):
            assert step not in found
            found[step] = sentence
    return found


def test_a_spike_is_told_once_for_a_series_of_them():
    losses = [1.0, 2.0] * (WINDOW // 2)
    found = told(Watch(), [*losses, 30.0, 40.0, 1.0, *losses, 6.0, 60.0])
    assert set(found) == {WINDOW + 1, 2 * WINDOW + 5}  # 6 is but 3 times the largest
    assert found[101] == "step 101: the loss 30 is 15.0 times the largest of the 100 steps before"


def test_the_swings_of_a_diffusion_loss_are_no_spikes():
    """Batches of four noise levels: log-normal losses, a quarter of them above twice the median."""
    losses = np.exp(np.random.default_rng(0).normal(size=5000))
    assert len(told(Watch(), losses)) <= 2


def test_the_first_losses_are_no_spikes():
    assert told(Watch(), [1.0] * (WINDOW - 1) + [100.0]) == {}


def test_the_loss_of_the_next_network_is_no_spike():
    watch, found = Watch(), []
    for step, (network, loss) in enumerate([(0, 0.1)] * WINDOW + [(3, 1.5)] * WINDOW + [(3, 15.0)]):
        found += watch.see(step, {**QUIET, "loss": loss, "network": network})
    assert len(found) == 1 and found[0].startswith(f"step {2 * WINDOW}: the loss 15 is 10.0 times")


def test_what_is_not_finite_is_named_and_spoils_no_median():
    watch = Watch()
    wrong = {"loss": 1.0, "gradient_norm": math.inf, "skipped": 1.0}
    [sentence] = watch.see(7, wrong)
    assert sentence == "step 7: the update is skipped; not finite: gradient_norm"
    for step in range(WINDOW):
        watch.see(step, wrong)
    assert told(watch, [100.0] * WINDOW) == {}


@pytest.mark.parametrize(("loss", "why"), [(0.001, "every CT"), (0.25, "no CT")])
def test_a_dead_discriminator_is_told_and_a_second_death_too(loss, why):
    watch = Watch()
    lively = [0.1, 0.2] * WINDOW
    found = told(watch, [*lively, *[loss] * (2 * WINDOW), *lively], "discriminator")
    assert set(found) == {3 * WINDOW}
    assert f"dead: for 100 steps it has distinguished {why} from" in found[3 * WINDOW]
    assert len(told(watch, [loss] * WINDOW, "discriminator", 6 * WINDOW)) == 1
