import json

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics
from sde_ct.evaluation.protocols import PAPER, VOLUME, constants, evaluate_case, protocol_named


def _case():
    rng = np.random.default_rng(1)
    ct = rng.normal(0, 300, (20, 18, 4))
    mask = np.zeros(ct.shape, bool)
    mask[3:-3, 3:-3, 1:] = True  # the first slice holds no body
    return ct, ct + rng.normal(0, 60, ct.shape), mask


def test_volume_scores_the_body_on_the_networks_window():
    ct, sct, mask = _case()
    got = evaluate_case(VOLUME, ct, sct, mask)
    assert VOLUME.window == (-1000, 2000)
    assert got.psnr == metrics.psnr(ct, sct, mask, -1000, 2000)
    assert got.ssim == metrics.ssim_slices(ct, sct, mask, -1000, 2000, "uniform")
    assert got.mae == metrics.mae(ct, sct, mask)
    air, soft, bone = metrics.tissue_mae(ct, sct, mask)
    assert (got.mae_air, got.mae_soft, got.mae_bone) == (air, soft, bone)
    outside = np.where(mask, sct, 999.0)
    assert evaluate_case(VOLUME, ct, outside, mask) == got


def test_paper_is_the_mean_of_whole_slices_on_their_own_range():
    ct, sct, mask = _case()
    psnr, ssim = [], []
    for k in (1, 2, 3):
        low, high = ct[..., k].min(), ct[..., k].max()
        a, b = (np.clip((v[..., k] - low) / (high - low), 0, 1) for v in (ct, sct))
        psnr.append(peak_signal_noise_ratio(a, b, data_range=1))
        ssim.append(
            structural_similarity(
                a, b, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
        )
    got = evaluate_case(PAPER, ct, sct, mask)
    assert got.psnr == pytest.approx(np.mean(psnr), abs=1e-9)
    assert got.ssim == pytest.approx(np.mean(ssim), abs=1e-9)
    assert got.mae == metrics.mae(ct, sct, mask)  # errors in HU stay the body's
    worse_air = np.where(mask, sct, sct + 500)
    assert evaluate_case(PAPER, ct, worse_air, mask).psnr < got.psnr


def test_paper_refuses_what_it_cannot_scale():
    ct, sct, mask = _case()
    flat = ct.copy()
    flat[..., 2] = 0
    with pytest.raises(InputError, match="one value only"):
        evaluate_case(PAPER, flat, sct, mask)
    with pytest.raises(InputError, match="outside the body"):
        evaluate_case(PAPER, ct, np.where(mask, sct, np.nan), mask)


def test_constants_state_the_whole_protocol():
    record = json.loads(json.dumps(constants(VOLUME)))
    assert record["name"] == "volume" and record["version"] == 1
    assert record["window"] == [-1000, 2000]
    assert record["ssim_side"] == 7 and record["ssim_k"] == [0.01, 0.03]
    assert constants(PAPER)["ssim_side"] == 11


def test_unknown_protocol_names_the_known_ones():
    assert protocol_named("paper") is PAPER
    with pytest.raises(InputError, match="volume, paper"):
        protocol_named("papers")
