"""Named evaluation protocols: what a reported figure was computed with, every constant stated.

`volume` is the one to compare methods by. It judges the body alone, on the intensity window the
networks are trained on. `paper` follows Lyu & Wang (arXiv 2209.12104), who score whole slices
scaled to [0, 1]; the air around the patient, easily right, raises its figures. `synthrad2023` and
`synthrad2025` follow the challenges of those years, whose figures they can be laid beside: the
column `ssim` is then the 3D SSIM and the 3D MS-SSIM of `ssim3d`.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics, ssim3d
from sde_ct.evaluation.metrics import SsimWindow
from sde_ct.volumes import masks
from sde_ct.volumes.masks import CtVolume, Mask

Similarity = Literal["ssim", "ssim_3d", "ms_ssim_3d"]


@dataclass(frozen=True)
class Protocol:
    """How PSNR and SSIM are computed; errors in HU are the same everywhere.

    Attributes:
        window: lowest and highest HU, which both volumes are clipped to; its width is the peak
            of PSNR and the range of SSIM. None: each slice's own range in the *reference* CT.
        region: "body" counts the mask's voxels; "slice" whole slices, those that hold any body,
            and averages the slices' figures.
        similarity: what the column `ssim` holds: "ssim" of axial slices, or "ssim_3d" or
            "ms_ssim_3d" of the volume. Volumes are set to the window's low end outside the body,
            but for whole slices.
    """

    name: str
    version: int
    window: tuple[float, float] | None
    region: Literal["body", "slice"]
    ssim_window: SsimWindow
    similarity: Similarity = "ssim"


VOLUME = Protocol("volume", 1, (-1000.0, 2000.0), "body", "uniform")
PAPER = Protocol("paper", 1, None, "slice", "gaussian")
SYNTHRAD2023 = Protocol("synthrad2023", 1, (-1024.0, 3000.0), "body", "uniform", "ssim_3d")
SYNTHRAD2025 = Protocol("synthrad2025", 1, (-1024.0, 3071.0), "body", "uniform", "ms_ssim_3d")
PROTOCOLS = {p.name: p for p in (VOLUME, PAPER, SYNTHRAD2023, SYNTHRAD2025)}


class CaseMetrics(NamedTuple):
    """One prediction against its reference; errors in HU over the body, nothing clipped."""

    mae: float
    mean_error: float
    mae_air: float  # NaN where the body holds no such tissue
    mae_soft: float
    mae_bone: float
    psnr: float  # dB
    ssim: float  # the protocol's `similarity`
    detail: float  # fine detail against the real CT's, 1 is right; see metrics.detail_ratio
    large_errors: float  # share of the body wrong by more than metrics.LARGE_ERROR
    mean_error_air: float  # NaN where the body holds no such tissue
    mean_error_soft: float
    mean_error_bone: float
    histogram_distance: float  # HU; see metrics.histogram_distance
    through_plane: float  # change between slices against the real CT's; see metrics.through_plane


def constants(protocol: Protocol) -> dict[str, Any]:
    """The protocol and every constant behind its figures, JSON-ready."""
    window = protocol.window
    record = asdict(protocol) | {
        "data_range": window[1] - window[0] if window else None,  # Q of PSNR and SSIM
        "outside_mask_hu": window[0] if protocol.region == "body" else None,  # type: ignore[index]  # HU, before SSIM
        "ssim_side": metrics.SSIM_SIDE[protocol.ssim_window],
        "ssim_k": metrics.SSIM_K,
        "ssim_covariance": "sample" if protocol.ssim_window == "uniform" else "population",
        "air_below_hu": masks.AIR_BELOW,
        "bone_above_hu": masks.BONE_ABOVE,
        "large_error_hu": metrics.LARGE_ERROR,
        "detail_sigma_voxels": metrics.DETAIL_SIGMA,
        "detail_window_hu": metrics.DETAIL_WINDOW,
    }
    if protocol.similarity != "ssim":
        record["ssim_crop_voxels"] = ssim3d.CROP
    if protocol.similarity == "ms_ssim_3d":
        record["ms_ssim_weights"] = ssim3d.MS_WEIGHTS
        record["ms_ssim_padded_to"] = ssim3d.MS_SIDE
    return record


def evaluate_case(protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask) -> CaseMetrics:
    """All figures of one case.

    Args:
        ct: the real CT [x, y, z], HU, axial slices along z.
        sct: the synthetic CT on the same grid, HU.
        mask: the body, above 0.

    Raises:
        InputError: shapes differ, the mask is empty, or voxels are not finite.
    """
    mask = masks.as_mask(mask, ct, prediction=sct)
    similarity = _body if protocol.region == "body" else _whole_slices
    psnr, ssim = similarity(protocol, ct, sct, mask)
    tissue, bias = metrics.tissue_mae(ct, sct, mask), metrics.tissue_mean_error(ct, sct, mask)
    return CaseMetrics(
        mae=metrics.mae(ct, sct, mask),
        mean_error=metrics.mean_error(ct, sct, mask),
        mae_air=tissue.air,
        mae_soft=tissue.soft,
        mae_bone=tissue.bone,
        psnr=psnr,
        ssim=ssim,
        detail=metrics.detail_ratio(ct, sct, mask),
        large_errors=metrics.large_error_share(ct, sct, mask),
        mean_error_air=bias.air,
        mean_error_soft=bias.soft,
        mean_error_bone=bias.bone,
        histogram_distance=metrics.histogram_distance(ct, sct, mask),
        through_plane=metrics.through_plane(ct, sct, mask),
    )


_SIMILARITY_3D = {"ssim_3d": ssim3d.ssim_3d, "ms_ssim_3d": ssim3d.ms_ssim_3d}


def _body(protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask) -> tuple[float, float]:
    low, high = protocol.window  # type: ignore[misc]
    if protocol.similarity == "ssim":
        ssim = metrics.ssim_slices(ct, sct, mask, low, high, protocol.ssim_window)
    else:
        ssim = _SIMILARITY_3D[protocol.similarity](ct, sct, mask, low, high)
    return metrics.psnr(ct, sct, mask, low, high), ssim


def _whole_slices(
    protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask
) -> tuple[float, float]:
    kept = mask.any(axis=(0, 1))
    ct, sct = ct[..., kept].astype(np.float64), sct[..., kept].astype(np.float64)
    if not (np.isfinite(ct).all() and np.isfinite(sct).all()):
        raise InputError(
            f"The protocol '{protocol.name}' scores whole slices and some voxels outside the body "
            "are NaN or infinite: set them to -1000 HU."
        )
    low, high = protocol.window or (ct.min(axis=(0, 1)), ct.max(axis=(0, 1)))
    if np.any(np.equal(low, high)):
        raise InputError(
            f"The protocol '{protocol.name}' scales by each slice's own range and a slice of the "
            "reference CT holds one value only: leave that slice out."
        )
    ct, sct = (np.clip((v - low) / (high - low), 0, 1) for v in (ct, sct))
    whole = np.ones((*ct.shape[:2], 1), bool)
    psnr = [metrics.psnr(a, b, whole, 0, 1) for a, b in zip(_each(ct), _each(sct), strict=True)]
    margin = metrics.SSIM_SIDE[protocol.ssim_window] // 2  # no mirrored voxel counts
    ssim = metrics.ssim_map(ct, sct, 1.0, protocol.ssim_window)
    return float(np.mean(psnr)), float(ssim[margin:-margin, margin:-margin].mean())


def _each(volume: CtVolume) -> list[CtVolume]:
    return np.split(volume, volume.shape[-1], axis=-1)
