"""Votes of forecasters whose fault is known."""

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.reliability import (
    REJECTED,
    bone_like,
    decided,
    outcomes,
    region_hu,
    reliability,
    sentence,
)

PRIORS = (0.1, 0.3, 0.5, 0.7, 0.9)
DRAWS = 800


def _votes(rule, seed=0, draws=DRAWS):
    rng = np.random.default_rng(seed)
    return {p: rng.random(draws) < rule(p) for p in PRIORS}


def test_votes_by_hand():
    got = reliability({0.5: np.array([1, 1, 0, 0], bool), 0.25: np.array([1, 1, 0, 0], bool)})
    assert got.priors.tolist() == [0.25, 0.5]
    assert [o.share for o in got.outcomes] == [0.5, 0.5]
    assert got.slope == 0 and got.bias == pytest.approx(0.125)
    # χ² = (2 - 1)² / (4 · 3/16) + 0 = 4/3 of two degrees: exp(-2/3).
    assert got.p == pytest.approx(np.exp(-2 / 3))


def test_a_right_forecaster_is_rejected_as_rarely_as_it_says():
    """One test in twenty; p is uniform, of mean 1/2 and deviation 0.29."""
    found = [reliability(_votes(lambda q: q, seed, draws=100)) for seed in range(150)]
    p = np.array([one.p for one in found])
    assert (p < REJECTED).mean() == pytest.approx(REJECTED, abs=4 * np.sqrt(0.05 * 0.95 / 150))
    assert p.mean() == pytest.approx(0.5, abs=4 * 0.29 / np.sqrt(150))
    for one in found[:20]:
        assert ("FAILS" in sentence("EM", one)) == (one.p < REJECTED)


RULES = {
    "always half": (lambda q: 0.5, 0.0, 0.0, "distinguish the MRs too little"),
    "halfway": (lambda q: 0.25 + 0.5 * q, 0.5, 0.0, "distinguish the MRs too little (slope 0."),
    "decided": (lambda q: np.clip(2 * q - 0.5, 0, 1), 1.4, 0.0, "distinguish the MRs too much"),
    "bone-minded": (lambda q: 0.15 + 0.8 * q, 0.8, 0.05, "bone too often"),
    "airy": (lambda q: 0.9 * q - 0.05, 0.9, -0.1, "air too often by 1"),
}


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_forecaster_fails_and_the_reason_is_named(name):
    rule, slope, bias, words = RULES[name]
    got = reliability(_votes(rule, seed=1))
    # A share of 800 draws is known to 1.8 %, the mean of five to 0.8 %, the slope, over
    # deviations of 0.28, to 0.8 % / 0.28.
    assert got.bias == pytest.approx(bias, abs=4 * 0.008)
    assert got.slope == pytest.approx(slope, abs=4 * 0.028)
    assert got.p < 1e-4
    assert "FAILS" in sentence(name, got) and words in sentence(name, got)


def test_what_the_training_patients_showed_stands_beside_a_failure():
    votes, seen = _votes(lambda q: 0.5), _votes(lambda q: q, draws=10)
    got = reliability(votes, seen)
    assert [o.draws for o in got.seen] == [10] * 5
    share = got.seen[0].share
    assert f"(training patients {share:.0%})" in sentence("EM", got)


def test_draws_that_have_not_decided_are_named():
    votes = _votes(lambda q: 0.5)
    half = {p: np.arange(v.size) % 2 == 0 for p, v in votes.items()}
    got = reliability(votes, decisions=half)
    assert [o.decided for o in got.outcomes] == [0.5] * 5
    assert "only 50% of the draws are nearer to an outcome" in sentence("EM", got)
    assert "only" not in sentence("EM", reliability(votes))
    right = {p: np.arange(DRAWS) < DRAWS * p for p in PRIORS}
    said = sentence("EM", reliability(right, decisions=half))
    assert "as often as the MR allows (p = 1.00), but only 50% of the draws" in said


def test_certain_outcomes_allow_no_exception():
    votes = {0.0: np.zeros(9, bool), 0.5: np.arange(10) % 2 == 0, 1.0: np.ones(9, bool)}
    assert reliability(votes).p == 1
    votes[0.0][3] = True
    assert reliability(votes).p == 0


def test_what_makes_no_diagram():
    one = np.ones(3, bool)
    for priors in ([0.5], [-0.1, 0.5], [0.5, 1.1]):
        with pytest.raises(InputError, match="two or more priors"):
            reliability({p: one for p in priors})
    with pytest.raises(InputError, match="no training patient"):
        reliability({0.2: one, 0.4: one}, {0.2: one})
    with pytest.raises(InputError, match="No draw is given"):
        reliability({0.2: one, 0.4: one[:0]})


def test_outcomes_in_the_ambiguous_region():
    region = np.zeros((4, 4, 2), bool)
    region[1:3, 1:3, 0] = True
    draws = np.full((4, *region.shape), 5000.0)  # bright, but outside the region
    draws[:, region] = np.array([700.0, -900, -800, -1])[:, None]
    hu = region_hu(draws, region)
    assert hu.tolist() == [700, -900, -800, -1]
    bone, sure = bone_like(hu), decided(hu)
    assert bone.tolist() == [True, False, False, False]
    assert sure.tolist() == [True, True, True, False]  # -1 HU is half of each
    got = outcomes(np.tile(bone, 2), np.tile(sure, 2))
    assert got.decided == 0.75 and outcomes(bone).decided is None
    # Wilson by hand: n = 8, p = 1/4, z = 1.959964.
    z, n, p = 1.959964, 8, 0.25
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (got.bone_like, got.draws, got.share, got.both) == (2, 8, 0.25, True)
    assert got.low == pytest.approx(centre - half, abs=1e-6)
    assert got.high == pytest.approx(centre + half, abs=1e-6)


@pytest.mark.parametrize("bone", [True, False])
def test_one_outcome_alone_is_not_both(bone):
    assert not outcomes(np.full(10, bone)).both


def test_empty_or_misplaced_region_is_refused():
    draws = np.zeros((2, 3, 3, 1))
    with pytest.raises(InputError, match="region is empty"):
        region_hu(draws, np.zeros((3, 3, 1)))
    with pytest.raises(InputError, match="on one grid"):
        region_hu(draws, np.ones((3, 3, 2)))
