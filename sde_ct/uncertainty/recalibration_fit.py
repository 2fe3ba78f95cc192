"""Corrections of a spread fitted on validation patients, who weigh alike, however large."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import require_draws, spread_skill
from sde_ct.uncertainty.intervals import Interval, bootstrap_interval, caveat
from sde_ct.uncertainty.recalibration import ByTissue, Recalibration, floored
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

COVERAGE = 0.9


class Validation(NamedTuple):
    """One patient who neither trained the network nor tests it; volumes [x, y, z]."""

    mean: CtVolume  # of the draws, HU
    spread: CtVolume  # standard deviation of the draws, HU
    ct: CtVolume
    mask: Mask


def fit(
    patients: Sequence[Validation],
    *,
    sampler: str,
    draws: int,
    coverage: float = COVERAGE,
    network: dict[str, Any] | None = None,
) -> Recalibration:
    """The corrections by tissue from validation patients.

    Spread: factor² = mean error² / ((M+1)/M · mean s²) makes spread-skill 1 on these patients, the
    scaling of variances of Laves et al. (MIDL 2020) by the second moments, which no voxel of tiny
    spread can decide. Intervals: mean ± q s, split-conformal (Lei et al., J. Am. Stat. Assoc. 113,
    2018) with s = √(spread² + `SPREAD_FLOOR`²) and q the `coverage` quantile of |error| / s, every
    patient's voxels weighing one together; what that guarantees: `Recalibration`.

    Args:
        patients: at least one.
        sampler, draws, network: what the spreads come from.
        coverage: share of voxels to cover.

    Raises:
        InputError: no patient, `draws` below 2, `coverage` outside (0, 1), fewer than
            coverage / (1 - coverage) voxels, or a tissue whose draws agree everywhere.
    """
    if not 0 < coverage < 1:
        raise InputError(f"coverage={coverage} is no share between 0 and 1: give 0.9 for 90 %.")
    require_draws(draws)
    if not patients:
        raise InputError("There is no validation patient to calibrate on: give at least one.")
    errors, spreads, tissue = zip(*(_inside(patient) for patient in patients), strict=True)
    scores = [np.abs(e) / floored(s) for e, s in zip(errors, spreads, strict=True)]
    fewest = coverage / (1 - coverage)
    if (count := sum(s.size for s in scores)) < fewest:
        raise InputError(
            f"{count} voxels are too few for intervals of coverage {coverage}: add patients."
        )
    factors, half_widths, having, voxels = {}, {}, {}, {}
    for name in ByTissue._fields:
        parts = [of_one[name] for of_one in tissue]
        voxels[name] = sum(int(part.sum()) for part in parts)
        enough = voxels[name] >= fewest
        having[name] = sum(bool(part.any()) for part in parts) if enough else 0
        factors[name] = _factor(_parts(errors, parts), _parts(spreads, parts), draws, name)
        half_widths[name] = _quantile(_parts(scores, parts) if enough else scores, coverage)
    found = (ByTissue(**figures) for figures in (factors, half_widths, having, voxels))
    return Recalibration(coverage, sampler, draws, *found, network=network or {})  # type: ignore[arg-type, misc]


class Verified(NamedTuple):
    """Over patients who took no part in the fit, in one tissue: means of the patients' figures."""

    before: float  # share of voxels covered by mean ± z √((M+1)/M) spread, as if errors were normal
    after: float  # by the fitted intervals
    interval: Interval  # of `after`, over patients
    skill_before: float  # √((M+1)/M · mean s²) / √(mean error²), 1 is right
    skill_after: float
    patients: int


def verify(fitted: Recalibration, patients: Sequence[Validation]) -> dict[str, Verified]:
    """{tissue of the mean, and `all`: coverage and spread-skill before and after the correction}.

    A tissue that no patient has is absent.
    """
    z = stats.norm.ppf((1 + fitted.coverage) / 2) * np.sqrt(1 + 1 / fitted.draws)
    found: dict[str, list[tuple[float, ...]]] = {}
    for patient in patients:
        mean, spread, ct, mask = patient
        mask = as_mask(mask, ct, mean=mean, spread=spread)
        scaled, low, high = fitted.apply(mean, spread)
        hits = np.abs(mean - ct) <= z * spread, (low <= ct) & (ct <= high)
        for name, part in {"all": mask, **tissues(mean)}.items():
            if not (part := part & mask).any():
                continue
            skills = (
                spread_skill(of_one, mean - ct, part, fitted.draws) for of_one in (spread, scaled)
            )
            found.setdefault(name, []).append((*(hit[part].mean() for hit in hits), *skills))
    return {
        name: Verified(  # type: ignore[call-arg]
            *np.mean(rows, 0)[:2],
            bootstrap_interval(np.array(rows)[:, 1]),
            *np.mean(rows, 0)[2:],
            len(rows),
        )
        for name, rows in found.items()
    }


def lines(fitted: Recalibration, verified: Mapping[str, Verified]) -> list[str]:
    """The verification as a table for a terminal, with what the intervals promise."""
    head = (
        f"{'tissue':8}{'covered before':>16}{'after':>8}{'95 % interval':>17}{'spread-skill':>14}"
    )
    table = [
        f"{name:8}{v.before:16.1%}{v.after:8.1%}{_percent(v.interval):>19}"
        f"{v.skill_before:7.2f} to {v.skill_after:.2f}"
        for name, v in verified.items()
    ]
    least = {name: g for name, g in fitted.guaranteed._asdict().items() if g}
    promise = ", ".join(f"{name} {g:.0%}" for name, g in least.items())
    return [
        head,
        *table,
        f"Stated coverage {fitted.coverage:.0%}; guaranteed for a voxel of a new patient "
        f"exchangeable with the fitted ones: at least {promise or 'nothing'}.",
        *filter(None, [caveat(max(v.patients for v in verified.values()), paired=False)]),
    ]


def record(verified: Mapping[str, Verified], patients: str) -> dict[str, Any]:
    """The verification, JSON-ready; `patients`: whose figures these are."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return None if np.isnan(value) else value

    return {
        "patients": patients,
        "tissues": {
            name: {figure: plain(value) for figure, value in v._asdict().items()}
            for name, v in verified.items()
        },
    }


def _percent(interval: Interval) -> str:
    low, high = interval
    return "-" if np.isnan(low) else f"{low:.1%} to {high:.1%}"


def _inside(patient: Validation) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Error of the mean, spread and predicted tissues of the body's voxels."""
    mean, spread, ct, mask = patient
    mask = as_mask(mask, ct, mean=mean, spread=spread)
    inside = mean[mask].astype(np.float64)
    return inside - ct[mask], spread[mask].astype(np.float64), tissues(inside)


def _parts(columns: Sequence[np.ndarray], parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of every patient who has some, the chosen voxels."""
    return [c[part] for c, part in zip(columns, parts, strict=True) if part.any()]


def _factor(
    errors: Sequence[np.ndarray], spreads: Sequence[np.ndarray], draws: int, tissue: str
) -> float:
    if not errors:
        return 1.0
    mse, variance = (
        np.mean([np.square(of_one).mean() for of_one in columns]) for columns in (errors, spreads)
    )
    if variance == 0:
        raise InputError(
            f"The draws agree everywhere in {tissue}: no factor widens a spread of 0; train "
            "longer, or use another sampler."
        )
    return float(np.sqrt(mse / (variance * (draws + 1) / draws)))


def _quantile(scores: Sequence[Float[np.ndarray, " n"]], level: float) -> float:
    """The least score up to which the patients' shares of voxels are `level` on average."""
    pooled = np.concatenate(scores)
    weights = np.concatenate([np.full(s.size, 1 / (s.size * len(scores))) for s in scores])
    order = np.argsort(pooled, kind="stable")
    reached = np.cumsum(weights[order])
    return float(pooled[order][min(np.searchsorted(reached, level - 1e-9), pooled.size - 1)])  # type: ignore[call-overload]
