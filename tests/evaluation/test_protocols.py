import json
import runpy
from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics, ssim3d, table
from sde_ct.evaluation.columns import Column
from sde_ct.evaluation.protocol_names import PROTOCOL_NAMES
from sde_ct.evaluation.protocols import (
    PAPER,
    PROTOCOLS,
    SYNTHRAD2023,
    SYNTHRAD2025,
    VOLUME,
    constants,
    evaluate_case,
)
from sde_ct.evaluation.results import write_metrics
from sde_ct.report.html import metric_tables

from ..programs import ROOT


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
    assert got["psnr"] == metrics.psnr(ct, sct, mask, -1000, 2000)
    assert got["ssim"] == metrics.ssim_slices(ct, sct, mask, -1000, 2000, "uniform")
    assert got["mae"] == metrics.mae(ct, sct, mask)
    for tissue in ("air", "soft", "bone"):
        assert got[f"mae_{tissue}"] == metrics.mae(ct, sct, mask, tissue)
        assert got[f"mean_error_{tissue}"] == metrics.mean_error(ct, sct, mask, tissue)
    assert got["mean_error"] == metrics.mean_error(ct, sct, mask)
    assert got["histogram_distance"] == metrics.histogram_distance(ct, sct, mask)
    assert got["through_plane"] == metrics.through_plane(ct, sct, mask)
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
    assert got["psnr"] == pytest.approx(np.mean(psnr), abs=1e-9)
    assert got["ssim"] == pytest.approx(np.mean(ssim), abs=1e-9)
    assert got["mae"] == metrics.mae(ct, sct, mask)  # errors in HU stay the body's
    worse_air = np.where(mask, sct, sct + 500)
    assert evaluate_case(PAPER, ct, worse_air, mask)["psnr"] < got["psnr"]


def test_paper_refuses_what_it_cannot_scale():
    ct, sct, mask = _case()
    flat = ct.copy()
    flat[..., 2] = 0
    with pytest.raises(InputError, match="only one value"):
        evaluate_case(PAPER, flat, sct, mask)
    with pytest.raises(InputError, match="outside the body"):
        evaluate_case(PAPER, ct, np.where(mask, sct, np.nan), mask)


def test_names_of_protocols_are_those_of_the_help_and_of_the_page():
    assert tuple(PROTOCOLS) == PROTOCOL_NAMES
    page = (ROOT / "docs/evaluation.md").read_text()
    assert all(f"| `{name}`" in page for name in PROTOCOL_NAMES)


def test_constants_state_the_whole_protocol():
    record = json.loads(json.dumps(constants(VOLUME)))
    assert record["name"] == "volume" and record["version"] == 1
    assert record["window"] == [-1000, 2000]
    assert record["ssim_side"] == 7 and record["ssim_k"] == [0.01, 0.03]
    assert constants(PAPER)["ssim_side"] == 11


@pytest.mark.parametrize("protocol, high", [(SYNTHRAD2023, 3000), (SYNTHRAD2025, 3071)])
def test_the_challenges_clip_psnr_and_not_the_mae(protocol, high):
    ct, sct, mask = _case()
    ct[mask] += 5000  # above the window everywhere: clipped, the two are equal
    ct[10, 10, 2], sct[10, 10, 2] = -3000.0, -524.0
    sct[mask] = np.where(ct[mask] > 0, ct[mask] + 100, sct[mask])
    ct, sct, mask = (np.concatenate([v[..., 1:]] * 3, axis=2) for v in (ct, sct, mask))
    got = evaluate_case(protocol, ct, sct, mask)
    n = mask.sum()
    assert got["mae"] == pytest.approx(((n - 3) * 100 + 3 * 2476) / n)
    # One voxel in each third is wrong: -1024, clipped, against -524.
    mse = 3 * 500**2 / n
    assert got["psnr"] == pytest.approx(10 * np.log10((high + 1024) ** 2 / mse))
    similarity = {"synthrad2023": ssim3d.ssim_3d, "synthrad2025": ssim3d.ms_ssim_3d}
    names = {"synthrad2023": "ssim", "synthrad2025": "ms_ssim"}
    assert got[names[protocol.name]] == similarity[protocol.name](ct, sct, mask, -1024, high)
    assert len(got.keys() & {"ssim", "ms_ssim"}) == 1
    outside = evaluate_case(protocol, ct, np.where(mask, sct, 999.0), mask)
    assert all(outside[name] == got[name] for name in ("mae", "psnr", names[protocol.name]))


def test_every_protocol_is_stamped_with_its_own_constants():
    records = {name: json.loads(json.dumps(constants(p))) for name, p in PROTOCOLS.items()}
    for name, expected in {
        "volume": (3000, "ssim"),
        "paper": (None, "ssim"),
        "synthrad2023": (4024, "ssim_3d"),
        "synthrad2025": (4095, "ms_ssim_3d"),
    }.items():
        assert (records[name]["data_range"], records[name]["similarity"]) == expected
    for name in ("synthrad2023", "synthrad2025"):
        record = records[name]
        assert (record["ssim_crop_voxels"], record["ssim_side"]) == (3, 7)
        assert (record["outside_mask_hu"], record["ssim_covariance"]) == (-1024, "sample")
    assert records["synthrad2025"]["ms_ssim_weights"] == [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    assert records["synthrad2025"]["ms_ssim_padded_to"] == 97


def test_a_column_of_one_protocol_reaches_every_table_and_file(monkeypatch, tmp_path):
    """As an entry of `PROTOCOLS` does: its column follows the shared ones, for its rows alone."""

    def squared(*case):
        return metrics.mean_error(*case) ** 2

    column = Column("bias_squared", "bias² (HU²)", 1, "main", squared)
    monkeypatch.setattr(table, "COLUMNS", (*table.COLUMNS, column))
    shown = [c for columns in metric_tables.TABLES.values() for c in columns]
    assert {c.name for c in shown} == {c.name for c in table.COLUMNS} - {"bias_squared"}
    accuracy = metric_tables.TABLES["Accuracy and cost"]
    monkeypatch.setitem(metric_tables.TABLES, "Accuracy and cost", [*accuracy, column])
    protocol = replace(VOLUME, name="biased", columns=(column,))
    ct, sct, mask = _case()
    expected = metrics.mean_error(ct, sct, mask) ** 2
    rows = {}
    for of in (VOLUME, protocol):
        rows[of.name] = [table.Row("m", "p", evaluate_case(of, ct, sct, mask))]
        write_metrics(tmp_path / of.name, rows[of.name], of, {})
    record = json.loads((tmp_path / "biased/metrics.json").read_text())
    assert record["protocol"]["columns"] == ["bias_squared"]
    assert record["cases"][0]["bias_squared"] == expected
    assert record["summary"]["m"]["bias_squared"]["mean"] == expected
    head, line = (tmp_path / "biased/metrics.csv").read_text().splitlines()
    assert head.endswith(",bias_squared") and line.endswith(f",{expected}")
    text = table.text_table(table.summarise(rows["biased"]))
    assert "bias² (HU²)" in text and f"{expected:.1f}" in text
    assert "bias² (HU²)" in metric_tables.over_patients(rows["biased"])[0].head
    for name in ("metrics.csv", "metrics.json"):
        assert "bias_squared" not in (tmp_path / "volume" / name).read_text()
    assert "bias²" not in table.text_table(table.summarise(rows["volume"]))


def test_main_columns_of_a_protocol_are_compared(monkeypatch, tmp_path):
    main = Column("bias", "bias (HU)", 1, "main", metrics.mean_error)
    more = Column("ratio", "ratio", 2, "more", metrics.detail_ratio)
    monkeypatch.setattr(table, "COLUMNS", (*table.COLUMNS, main, more))
    protocol = replace(VOLUME, name="ours", columns=(main, more))
    ct, _, mask = _case()
    rows = []
    for method, error in (("a", 30.0), ("b", 10.0)):
        figures = evaluate_case(protocol, ct, ct + error, mask) | {"nfe": 20.0, "seconds": 1.0}
        rows += [table.Row(method, patient, figures) for patient in ("p1", "p2")]
    write_metrics(tmp_path, rows, protocol, {})
    comparisons = json.loads((tmp_path / "metrics.json").read_text())["comparisons"]
    assert list(comparisons) == ["mae", "psnr", "ssim", "bias"]
    # The mean errors are 30 and 10 HU, exact but for the rounding of float64.
    assert comparisons["bias"][0]["median_difference"] == pytest.approx(20, rel=1e-9)


def test_a_column_of_two_protocols_is_one_column(monkeypatch):
    """The module runs again with the new entries of `PROTOCOLS`, as a changed file would."""
    before = len(table.COLUMNS)
    column = Column("bias", "bias (HU)", 1, "main", metrics.mean_error)
    for name in ("one", "two"):
        monkeypatch.setitem(PROTOCOLS, name, replace(VOLUME, name=name, columns=(column,)))
    anew = runpy.run_path(str(table.__file__))
    rows = [anew["Row"]("m", "p", evaluate_case(PROTOCOLS["one"], *_case()))]
    assert len(anew["COLUMNS"]) == before + 1
    assert [c.name for c in anew["columns_of"](rows)].count("bias") == 1
    assert anew["text_table"](anew["summarise"](rows)).count("bias (HU)") == 1
