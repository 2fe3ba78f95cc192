"""Whether the draws of a sampler mean what they say.

A calibrated sampler's draws and the real CT come from one distribution, p(CT | MR). The real CT
is then as likely to fall between any two neighbouring draws as between any others: everything
here asks for that. Draws of one network show the ambiguity of its data alone, not what the
network itself does not know.

Tissues are those of the real CT, so a voxel is called bone because it came out dense: even
calibrated draws then look too soft in it (Lerch et al., Stat. Sci. 32(1), 2017). Compare samplers
by tissue; judge calibration over all. `recalibration` corrects them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.uncertainty import draws as uncertainty
from sde_ct.uncertainty.intervals import Interval, bootstrap_interval
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

FIGURES = ("spread_skill", "crps", "ence", "ause")
OVERCONFIDENT = 0.5  # of spread-skill: twice too narrow
AGREEING = 1.0  # HU, the step in which CTs are stored: a mean spread below has collapsed


class RankHistogram(NamedTuple):
    """Where the real CT lies among its M draws: below all (0) to above all (M)."""

    shares: Float[np.ndarray, " ranks"]  # of voxels, M + 1 of them; 1 / (M + 1) each is right
    deviation: float  # Σ|share - 1 / (M + 1)|, 0 for flat; below 2
    voxels: int


class Coverage(NamedTuple):
    """Shares of voxels within the k lowest and k highest of M draws, widest interval first.

    The first is the range of all draws. Nominal is (M + 1 - 2 k) / (M + 1), exact for any
    distribution; levels between would have to be interpolated.
    """

    nominal: Float[np.ndarray, " levels"]
    observed: Float[np.ndarray, " levels"]


class Calibration(NamedTuple):
    """Judgement of the draws over some voxels of one patient."""

    ranks: RankHistogram
    coverage: Coverage
    spread_skill: float  # this and the rest: see `uncertainty`
    crps: float
    ence: float
    bins: uncertainty.SpreadBins
    sparsification: uncertainty.Sparsification

    @property
    def ause(self) -> float:
        return self.sparsification.ause


def rank_histogram(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> RankHistogram:
    """Ranks of the real CT among the draws over the mask (Hamill, Mon. Weather Rev. 129, 2001).

    ∪-shaped for too narrow a spread, ∩ for too wide, sloped for a bias. A voxel that equals some
    draws, as where HU are rounded or clipped, is shared evenly by the ranks that it could have.
    """
    mask = _checked(draws, ct, mask)
    truth, m = ct[mask], len(draws)
    below, equal = np.zeros((2, truth.size), int)
    for draw in draws:
        below += draw[mask] < truth
        equal += draw[mask] == truth
    counts = np.zeros(m + 1)
    pairs, voxels = np.unique(np.stack([below, equal]), axis=1, return_counts=True)
    for (low, ties), n in zip(pairs.T, voxels, strict=True):
        counts[low : low + ties + 1] += n / (ties + 1)
    shares = counts / truth.size
    return RankHistogram(shares, float(np.abs(shares - 1 / (m + 1)).sum()), truth.size)


def coverage(histogram: RankHistogram) -> Coverage:
    """How often the real CT lies within the central intervals that M draws offer."""
    shares = histogram.shares
    k = np.arange(1, (len(shares) + 1) // 2)
    observed = [shares[i:-i].sum() for i in k]
    return Coverage(1 - 2 * k / len(shares), np.array(observed))


def calibration(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> Calibration:
    """All diagnostics over the mask.

    Args:
        draws: M >= 2 synthetic CTs of one patient, HU.
        ct: the real CT, HU.
        mask: the body or a part of it, above 0; at least `uncertainty.BINS` voxels.
    """
    mask = _checked(draws, ct, mask)
    m, ranks = len(draws), rank_histogram(draws, ct, mask)
    spread = np.std(draws, axis=0, ddof=1, dtype=np.float64)
    error = np.mean(draws, axis=0, dtype=np.float64) - ct
    bins = uncertainty.ence(spread, error, mask, m)
    return Calibration(
        ranks,
        coverage(ranks),
        uncertainty.spread_skill(spread, error, mask, m),
        uncertainty.fair_crps(draws, ct, mask),
        bins.ence,
        bins,
        uncertainty.sparsification(spread, error, mask),
    )


def by_tissue(
    draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask
) -> dict[str, Calibration]:
    """`calibration` over `all` of the mask and over the `air`, `soft` tissue and `bone` of the
    real CT; a tissue of fewer voxels than `uncertainty.BINS` is absent."""
    mask = _checked(draws, ct, mask)
    parts = {"all": mask} | {name: mask & part for name, part in tissues(ct).items()}
    return {
        name: calibration(draws, ct, part)
        for name, part in parts.items()
        if name == "all" or part.sum() >= uncertainty.BINS
    }


def spread_warning(
    draws: Float[np.ndarray, "m x y z"], mask: Mask, ct: CtVolume | None = None
) -> str | None:
    """The sentence that a spread must carry which says little of the error, or None.

    Without the real CT that is known only of draws that all agree, with it also of those whose
    spread is less than `OVERCONFIDENT` of their error.
    """
    mask = _checked(draws, draws[0] if ct is None else ct, mask)
    average, variance = uncertainty.moments(draws)
    spread = np.sqrt(variance)
    if (mean := spread[mask].mean()) < AGREEING:
        return (
            f"The {len(draws)} draws agree within {mean:.1g} HU over the body: their spread has "
            "collapsed and says nothing of the error."
        )
    if ct is None:
        return None
    error = average - ct
    skill = uncertainty.spread_skill(spread, error, mask, len(draws))
    if skill < OVERCONFIDENT:
        return (
            f"The spread of the {len(draws)} draws is {skill:.0%} of their error: they agree with "
            "one another more than with the CT."
        )
    return None


class OverPatients(NamedTuple):
    """One figure over the patients who have it (finite); see `statistics.bootstrap_interval`."""

    mean: float
    interval: Interval
    patients: int


def over_patients(cases: Sequence[Mapping[str, Calibration]]) -> dict[str, dict[str, OverPatients]]:
    """{tissue: {figure: its mean and interval}} of what `by_tissue` found for each patient.

    The figures are `FIGURES` and `range_coverage`, that of the range of all draws.
    """
    found: dict[str, dict[str, OverPatients]] = {}
    for tissue in dict.fromkeys(name for case in cases for name in case):
        present = [case[tissue] for case in cases if tissue in case]
        columns = {name: [getattr(one, name) for one in present] for name in FIGURES}
        columns["range_coverage"] = [one.coverage.observed[0] for one in present]
        for name, column in columns.items():
            if values := [float(v) for v in column if np.isfinite(v)]:
                entry = OverPatients(
                    float(np.mean(values)), bootstrap_interval(values), len(values)
                )
                found.setdefault(tissue, {})[name] = entry
    return found


def _checked(draws: np.ndarray, ct: np.ndarray, mask: np.ndarray) -> Mask:
    uncertainty.require_draws(len(draws))
    return as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
