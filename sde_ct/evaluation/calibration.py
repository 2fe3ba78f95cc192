"""Whether the draws of a sampler mean what they say, and how to make them.

A calibrated sampler's draws and the real CT come from one distribution, p(CT | MR). The real CT
is then as likely to fall between any two neighbouring draws as between any others: everything
here asks for that. Draws of one network show the ambiguity of its data alone, not what the
network itself does not know.

Tissues are those of the real CT, so a voxel is called bone because it came out dense: even
calibrated draws then look too soft in it (Lerch et al., Stat. Sci. 32(1), 2017). Compare samplers
by tissue; judge calibration over all. The corrections go by the tissues of what was predicted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.evaluation import uncertainty
from sde_ct.evaluation.metrics import CtVolume, Mask, as_mask, tissues
from sde_ct.evaluation.statistics import Interval, bootstrap_interval

FIGURES = ("spread_skill", "crps", "ence", "ause")
OVERCONFIDENT = 0.5  # of spread-skill: twice too narrow
SPREAD_FLOOR = 1.0  # HU, the step in which CTs are stored: where all draws agree


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
    spread = np.std(draws, axis=0, ddof=1, dtype=np.float64)
    if (mean := spread[mask].mean()) < SPREAD_FLOOR:
        return (
            f"The {len(draws)} draws agree within {mean:.1g} HU over the body: their spread has "
            "collapsed and says nothing of the error."
        )
    if ct is None:
        return None
    error = draws.mean(axis=0, dtype=np.float64) - ct
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


class Validation(NamedTuple):
    """One patient who neither trained the network nor tests it."""

    draws: Float[np.ndarray, "m x y z"]  # HU, M >= 2
    ct: CtVolume
    mask: Mask


class ByTissue(NamedTuple):
    """One figure for each tissue of the *mean of the draws*, known where there is no CT."""

    air: float
    soft: float
    bone: float


class VarianceScaling(NamedTuple):
    """Factors of the spread, and the voxels that each was fitted on; 1 where there were none."""

    factors: ByTissue
    voxels: ByTissue


class ConformalIntervals(NamedTuple):
    """Half-widths of the intervals in spreads, and the voxels that each was fitted on."""

    level: float
    draws: int
    quantiles: ByTissue
    voxels: ByTissue


def fit_scaling(patients: Sequence[Validation]) -> VarianceScaling:
    """The factor of each tissue's spread that makes spread-skill 1 on these patients.

    factor² = mean error² / ((M+1)/M · mean s²): the scaling of variances of Laves et al. (MIDL
    2020), by the second moments, which no voxel of tiny spread can decide.

    Raises:
        InputError: no patient, or a tissue whose draws agree everywhere.
    """
    error, spread, tissue, m = _pooled(patients)
    factors = {}
    for name, part in tissue.items():
        variance = np.square(spread[part]).mean() * (m + 1) / m if part.any() else 1.0
        if variance == 0:
            raise InputError(
                f"The draws agree everywhere in {name}: no factor widens a spread of 0; use "
                "conformal intervals."
            )
        mse = np.square(error[part]).mean() if part.any() else 1.0
        factors[name] = float(np.sqrt(mse / variance))
    return VarianceScaling(ByTissue(**factors), _sizes(tissue))


def scale_draws(fit: VarianceScaling, draws: Float[np.ndarray, "m *d"]) -> np.ndarray:
    """The draws moved away from or towards their mean, which stays, by the tissues' factors."""
    mean = draws.mean(axis=0, dtype=np.float64)
    return mean + _each(fit.factors, mean) * (draws - mean)


def fit_conformal(patients: Sequence[Validation], level: float) -> ConformalIntervals:
    """Split-conformal intervals mean ± q s, whatever the distribution of the errors.

    q of a tissue is the ⌈(n+1) level⌉-th smallest |error| / s of its n voxels, with s = √(spread²
    + `SPREAD_FLOOR`²) (Lei et al., J. Am. Stat. Assoc. 113, 2018). A new voxel that is
    exchangeable with the fitted ones is then covered with probability `level` to `level` + 1/(n+1).
    Voxels of one patient are alike, so over new patients the coverage scatters by their number. A
    tissue with too few voxels takes the quantile of all.

    Raises:
        InputError: no patient, `level` outside (0, 1), or fewer than level / (1 - level) voxels.
    """
    if not 0 < level < 1:
        raise InputError(f"The level {level} is not a share between 0 and 1: give 0.9 for 90 %.")
    error, spread, tissue, m = _pooled(patients)
    scores = np.abs(error) / _floored(spread)
    if (overall := _quantile(scores, level)) is None:
        raise InputError(
            f"{scores.size} voxels are too few for intervals at the level {level}: add patients."
        )
    found = {name: _quantile(scores[part], level) for name, part in tissue.items()}
    quantiles = {name: overall if q is None else q for name, q in found.items()}
    return ConformalIntervals(level, m, ByTissue(**quantiles), _sizes(tissue))


def conformal_interval(
    fit: ConformalIntervals, draws: Float[np.ndarray, "m *d"]
) -> tuple[Float[np.ndarray, "*d"], Float[np.ndarray, "*d"]]:
    """Lower and upper bound of every voxel, HU.

    Raises:
        InputError: another number of draws than was fitted, whose spread scatters otherwise.
    """
    if len(draws) != fit.draws:
        raise InputError(
            f"The intervals were fitted on {fit.draws} draws and there are {len(draws)}: draw as "
            "many."
        )
    mean = draws.mean(axis=0, dtype=np.float64)
    half = _each(fit.quantiles, mean) * _floored(np.std(draws, axis=0, ddof=1, dtype=np.float64))
    return mean - half, mean + half


def _checked(draws: np.ndarray, ct: np.ndarray, mask: np.ndarray) -> Mask:
    if len(draws) < 2:
        raise InputError(f"A spread needs at least 2 draws and there is {len(draws)}: draw more.")
    return as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})


def _pooled(
    patients: Sequence[Validation],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], int]:
    """Error of the mean, spread and predicted tissues of all voxels, and the number of draws."""
    if len(counts := {len(patient.draws) for patient in patients}) != 1:
        raise InputError(
            "A correction is fitted on one number of draws of at least one patient, and there are "
            f"{sorted(counts) or 'none'}: draw as many for each."
        )
    means, spreads, truths = [], [], []
    for draws, ct, mask in patients:
        mask = _checked(draws, ct, mask)
        inside = draws[:, mask]
        means.append(inside.mean(axis=0, dtype=np.float64))
        spreads.append(inside.std(axis=0, ddof=1, dtype=np.float64))
        truths.append(ct[mask])
    mean, spread, truth = (np.concatenate(parts) for parts in (means, spreads, truths))
    return mean - truth, spread, tissues(mean), counts.pop()


def _sizes(tissue: dict[str, np.ndarray]) -> ByTissue:
    return ByTissue(**{name: int(part.sum()) for name, part in tissue.items()})


def _each(figures: ByTissue, mean: np.ndarray) -> np.ndarray:
    """Every voxel's figure, by the tissue that its mean HU is."""
    return np.select(list(tissues(mean).values()), figures)


def _floored(spread: np.ndarray) -> np.ndarray:
    return np.hypot(spread, SPREAD_FLOOR)


def _quantile(scores: Float[np.ndarray, " n"], level: float) -> float | None:
    rank = int(np.ceil((scores.size + 1) * level))
    return float(np.partition(scores, rank - 1)[rank - 1]) if rank <= scores.size else None
