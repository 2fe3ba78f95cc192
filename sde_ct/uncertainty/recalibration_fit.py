"""Corrections of a spread, fitted and verified on patients of equal weight."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import require_draws
from sde_ct.uncertainty.intervals import Interval, bootstrap_interval, caveat
from sde_ct.uncertainty.recalibration import ByTissue, Recalibration, floored
from sde_ct.uncertainty.scores import Voxels, spread_skill
from sde_ct.uncertainty.text import aligned
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

COVERAGE = 0.9


class Validation(NamedTuple):
    """Volumes [x, y, z] in HU, and the mask, of one patient who is not in the training set."""

    mean: CtVolume  # of the draws
    spread: CtVolume  # standard deviation of the draws
    ct: CtVolume
    mask: Mask  # above 0 where a voxel counts


def fit(
    patients: Sequence[Validation],
    *,
    sampler: str | None,
    draws: int,
    coverage: float = COVERAGE,
    network: dict[str, Any] | None = None,
) -> Recalibration:
    """Fit the corrections of each tissue on validation patients.

    With factor² = mean error² / ((M+1)/M · mean spread²), the spread-skill is 1 on these patients.
    Laves et al. (MIDL 2020) scale variances too, but by a mean of ratios, in which voxels of tiny
    spread dominate. The intervals mean ± q s are split-conformal (Lei et al., J. Am. Stat. Assoc.
    113, 2018), with s = √(spread² + `SPREAD_FLOOR`²) and q the `coverage` quantile of |error| / s,
    in which all patients have equal weight.

    Args:
        patients: at least one.
        sampler, draws, network: recorded as the origin of the spreads.
        coverage: the share of voxels to cover.

    Raises:
        InputError: no patient, `draws` below 2, `coverage` outside (0, 1), fewer than
            coverage / (1 - coverage) voxels, a tissue in which all draws agree, or a
            mask that `as_mask` refuses.
    """
    require_coverage(coverage)
    require_draws(draws)
    if not patients:
        raise InputError("There is no validation patient to calibrate on: give at least one.")
    columns = [_inside(patient) for patient in patients]
    every = [score for _, _, score, _ in columns]
    fewest = coverage / (1 - coverage) - 1e-9  # 0.9 / (1 - 0.9) is slightly above 9
    if (count := sum(score.size for score in every)) < fewest:
        raise InputError(
            f"{count} voxels are too few for intervals of coverage {coverage}: add patients."
        )
    by_tissue = []
    for name in ByTissue._fields:
        parts = [[v[tissue[name]] for v in voxels] for *voxels, tissue in columns]
        errors, spreads, scores = zip(*parts, strict=True)
        having = [score for score in scores if score.size]
        voxels = sum(score.size for score in having)
        enough = voxels >= fewest
        half_width = patient_quantile(having if enough else every, coverage)
        patients_used = len(having) if enough else 0
        by_tissue.append((_factor(errors, spreads, draws, name), half_width, patients_used, voxels))
    factors, half_widths, used, counts = (ByTissue(*each) for each in zip(*by_tissue, strict=True))
    return Recalibration(
        coverage, sampler, draws, factors, half_widths, used, counts, network=network or {}
    )


def require_coverage(coverage: float) -> None:
    """Raise InputError for a coverage outside (0, 1)."""
    if not 0 < coverage < 1:
        raise InputError(f"coverage={coverage} is not between 0 and 1: give 0.9 for 90 %.")


def _inside(patient: Validation) -> tuple[Voxels, Voxels, Voxels, dict[str, np.ndarray]]:
    """Error of the mean, spread, |error| / s and predicted tissues in the mask."""
    mean, spread, ct, mask = patient
    mask = as_mask(mask, ct, mean=mean, spread=spread)
    inside, spread = mean[mask].astype(np.float64), spread[mask].astype(np.float64)
    error = inside - ct[mask]
    return error, spread, np.abs(error) / floored(spread), tissues(inside)


def _factor(errors: Sequence[Voxels], spreads: Sequence[Voxels], draws: int, tissue: str) -> float:
    mse, variance = (
        [np.square(values).mean() for values in of_patients if values.size]
        for of_patients in (errors, spreads)
    )
    if not mse:
        return 1.0
    if not any(variance):
        raise InputError(
            f"The draws agree everywhere in {tissue}, and no factor widens a spread of 0: train "
            "longer, or use another sampler."
        )
    return float(np.sqrt(np.mean(mse) / (np.mean(variance) * (draws + 1) / draws)))


def patient_quantile(scores: Sequence[Voxels], level: float) -> float:
    """The `level` quantile of all scores, with equal weight for each patient."""
    weights = np.concatenate([np.full(score.size, 1 / score.size) for score in scores])
    pooled = np.concatenate(scores)
    # Without the small number, rounding in the sum of weights could select the next score.
    return float(np.quantile(pooled, level - 1e-9, weights=weights, method="inverted_cdf"))


class Verified(NamedTuple):
    """Means of one tissue over patients, who should not be part of the fit."""

    before: float  # share of voxels within mean ± z √((M+1)/M) spread, as for normal errors
    after: float  # share of voxels within the fitted intervals
    interval: Interval  # of `after`, over patients
    skill_before: float  # spread-skill; 1 is calibrated
    skill_after: float
    patients: int


def verify(fitted: Recalibration, patients: Sequence[Validation]) -> dict[str, Verified]:
    """Coverage and spread-skill before and after the correction, for `all` and for each tissue.

    The corrections depend on the tissue in the mean of the draws, which is known for a new patient.
    Rows named "real …" are by the tissue in the CT. Their coverage is usually lower, because they
    include voxels whose tissue the mean misses. A tissue that no patient has is absent.
    """
    from scipy import stats  # takes half a second to import

    z = stats.norm.ppf((1 + fitted.coverage) / 2) * np.sqrt(1 + 1 / fitted.draws)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for mean, spread, ct, mask in patients:
        mask = as_mask(mask, ct, mean=mean, spread=spread)
        scaled, low, high = fitted.apply(mean, spread)
        error = mean - ct
        before, after = np.abs(error) <= z * spread, (low <= ct) & (ct <= high)
        of_ct = {f"real {name}": part for name, part in tissues(ct).items()}
        for name, part in {"all": mask, **tissues(mean), **of_ct}.items():
            if (part := part & mask).any():
                skill = [spread_skill(s[part], error[part], fitted.draws) for s in (spread, scaled)]
                rows.setdefault(name, []).append((before[part].mean(), after[part].mean(), *skill))
    verified = {}
    for name, values in rows.items():
        columns = np.transpose(values)
        before, after, skill_before, skill_after = columns.mean(axis=1).tolist()
        interval = bootstrap_interval(columns[1])
        verified[name] = Verified(before, after, interval, skill_before, skill_after, len(values))
    return verified


def lines(fitted: Recalibration, verified: Mapping[str, Verified]) -> list[str]:
    """The verification as a table for a terminal, and what the intervals guarantee."""
    table = [["tissue", "covered before", "after", "95 % interval", "spread/error before", "after"]]
    for name, v in verified.items():
        low, high = v.interval
        interval = "-" if np.isnan(low) else f"{low:.1%} to {high:.1%}"
        skill = f"{v.skill_before:.2f}", f"{v.skill_after:.2f}"
        table.append([name, f"{v.before:.1%}", f"{v.after:.1%}", interval, *skill])
    guaranteed = fitted.guaranteed._asdict().items()
    promise = ", ".join(f"{name} {share:.0%}" for name, share in guaranteed if share)
    return [
        *aligned(table),
        "The corrections depend on the tissue that the mean of the draws shows. Rows named real "
        "are by the tissue in the CT, which a new patient does not have.",
        f"The intervals are made for a coverage of {fitted.coverage:.0%}. The fitted patients "
        f"guarantee less for a new patient like them: at least {promise or 'nothing'}, on average "
        "over voxels and patients.",
        *filter(None, [caveat(max(v.patients for v in verified.values()), paired=False)]),
    ]


def record(verified: Mapping[str, Verified], patients: str) -> dict[str, Any]:
    """The verification as JSON values, None for NaN; `patients` names the part of the split."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(one) for one in value]
        return None if np.isnan(value) else value

    tissue = {n: {k: plain(x) for k, x in v._asdict().items()} for n, v in verified.items()}
    return {"patients": patients, "tissues": tissue}
