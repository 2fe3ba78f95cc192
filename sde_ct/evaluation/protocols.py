"""Named evaluation protocols, and the constants behind the reported figures.

`volume` is the protocol for comparing methods: it judges only the body, on the intensity window of
the training. `paper` follows Lyu & Wang (arXiv 2209.12104), who score whole slices scaled to [0,
1]; the easy air around the patient raises its figures. `synthrad2023` and `synthrad2025` follow the
challenges of those years and are comparable with their results. `synthrad2023` gives 3D SSIM in the
column `ssim`, and `synthrad2025` gives 3D MS-SSIM in the column `ms_ssim` (see `ssim3d`).

To add a protocol, add an entry to `PROTOCOLS` and its name to `protocol_names`. To give it a metric
of its own, write a function in a new file and add a `Column` with this function to the entry's
`columns`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics, ssim3d
from sde_ct.evaluation.columns import SHARED, Column
from sde_ct.evaluation.metrics import SsimWindow
from sde_ct.volumes import masks
from sde_ct.volumes.masks import CtVolume, Mask


@dataclass(frozen=True)
class Protocol:
    """How PSNR and SSIM are computed. The errors of `SHARED` are the same in all protocols.

    Attributes:
        window: lowest and highest HU, to which both volumes are clipped; its width is the peak
            of PSNR and the range of SSIM. None means each slice's own range in the *reference* CT.
        region: "body" counts the voxels of the mask. "slice" counts all voxels of the slices that
            contain some of the body, and averages the figures of these slices.
        similarity: "ssim" of axial slices or "ssim_3d" of the volume, in the column `ssim`, or
            "ms_ssim_3d" of the volume, in the column `ms_ssim`. Outside the body, volumes are set
            to the window's low end, except if whole slices count.
        columns: figures that this protocol has in addition to `columns.SHARED`.
    """

    name: str
    version: int
    window: tuple[float, float] | None
    region: Literal["body", "slice"]
    ssim_window: SsimWindow
    similarity: Literal["ssim", "ssim_3d", "ms_ssim_3d"] = "ssim"
    columns: tuple[Column, ...] = ()


VOLUME = Protocol("volume", 1, (-1000.0, 2000.0), "body", "uniform")
PAPER = Protocol("paper", 1, None, "slice", "gaussian")
SYNTHRAD2023 = Protocol("synthrad2023", 1, (-1024.0, 3000.0), "body", "uniform", "ssim_3d")
SYNTHRAD2025 = Protocol("synthrad2025", 1, (-1024.0, 3071.0), "body", "uniform", "ms_ssim_3d")
PROTOCOLS = {p.name: p for p in (VOLUME, PAPER, SYNTHRAD2023, SYNTHRAD2025)}


def constants(protocol: Protocol) -> dict[str, Any]:
    """The protocol and the constants behind its figures, JSON-ready."""
    window = protocol.window
    record = {name: value for name, value in vars(protocol).items() if name != "columns"} | {
        # Q in the equations of PSNR and SSIM.
        "data_range": window[1] - window[0] if window else None,
        "outside_mask_hu": window[0] if window and protocol.region == "body" else None,
        "ssim_side": metrics.SSIM_SIDE[protocol.ssim_window],
        "ssim_k": metrics.SSIM_K,
        "ssim_covariance": "sample" if protocol.ssim_window == "uniform" else "population",
        "air_below_hu": masks.AIR_BELOW,
        "bone_above_hu": masks.BONE_ABOVE,
        "large_error_hu": metrics.LARGE_ERROR,
        "detail_sigma_voxels": metrics.DETAIL_SIGMA,
        "detail_window_hu": metrics.DETAIL_WINDOW,
    }
    if protocol.columns:
        record["columns"] = [column.name for column in protocol.columns]
    if protocol.similarity != "ssim":
        record["ssim_crop_voxels"] = ssim3d.CROP
    if protocol.similarity == "ms_ssim_3d":
        record["ms_ssim_weights"] = ssim3d.MS_WEIGHTS
        record["ms_ssim_padded_to"] = ssim3d.MS_SIDE
    return record


def evaluate_case(protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask) -> dict[str, float]:
    """The similarity and errors of one case, by column; NaN if a figure is not defined.

    Args:
        ct: the real CT [x, y, z], HU, axial slices along z.
        sct: the synthetic CT on the same grid, HU.
        mask: the body, above 0.

    Raises:
        InputError: shapes differ, the mask is empty, voxels that count are not finite, the volume
            is smaller than the window of SSIM, or a slice that gives its own range holds one value.
    """
    mask = masks.as_mask(mask, ct, prediction=sct)
    score = _body if protocol.region == "body" else _whole_slices
    psnr, ssim = score(protocol, ct, sct, mask)
    figures = {"psnr": psnr, protocol.similarity.removesuffix("_3d"): ssim}
    for column in (*SHARED, *protocol.columns):
        if column.measure:
            figures[column.name] = column.measure(ct, sct, mask)
    return figures


def _body(protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask) -> tuple[float, float]:
    low, high = protocol.window  # type: ignore[misc]
    if protocol.similarity == "ssim":
        ssim = metrics.ssim_slices(ct, sct, mask, low, high, protocol.ssim_window)
    else:
        ssim = getattr(ssim3d, protocol.similarity)(ct, sct, mask, low, high)
    return metrics.psnr(ct, sct, mask, low, high), ssim


def _whole_slices(
    protocol: Protocol, ct: CtVolume, sct: CtVolume, mask: Mask
) -> tuple[float, float]:
    kept = mask.any(axis=(0, 1))
    ct, sct = ct[..., kept].astype(np.float64), sct[..., kept].astype(np.float64)
    if not (np.isfinite(ct).all() and np.isfinite(sct).all()):
        raise InputError(
            f"The protocol '{protocol.name}' scores whole slices, and some voxels outside the body "
            "are NaN or infinite: set them to -1000 HU."
        )
    low, high = protocol.window or (ct.min(axis=(0, 1)), ct.max(axis=(0, 1)))
    if np.any(np.equal(low, high)):
        raise InputError(
            f"The protocol '{protocol.name}' scales by each slice's own range, but a slice of "
            "the reference CT holds only one value: leave this slice out."
        )
    ct, sct = (np.clip((v - low) / (high - low), 0, 1) for v in (ct, sct))
    whole = np.ones((*ct.shape[:2], 1), bool)
    slices = zip(*(np.split(v, v.shape[-1], axis=-1) for v in (ct, sct)), strict=True)
    psnr = [metrics.psnr(a, b, whole, 0, 1) for a, b in slices]
    # Windows with mirrored voxels do not count.
    margin = metrics.SSIM_SIDE[protocol.ssim_window] // 2
    ssim = metrics.ssim_map(ct, sct, 1.0, protocol.ssim_window)
    return float(np.mean(psnr)), float(ssim[margin:-margin, margin:-margin].mean())
