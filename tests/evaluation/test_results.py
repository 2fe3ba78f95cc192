"""The table and the files: figures by hand, same rows same bytes, nothing overwritten."""

import csv
import json

import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import VOLUME
from sde_ct.evaluation.results import write_metrics
from sde_ct.evaluation.table import summarise, text_table

from ..rows import row

ROWS = [
    row("CNN", "p1", 50.0, 28.0, 0.90, nfe=1, seconds=0.25),
    row("CNN", "p2", 60.0, 30.0, 0.80, nfe=1, seconds=0.35),
    row("DDPM-M", "p1", 40.0, float("inf"), 0.95, nfe=1000, seconds=12.5, spearman=0.5),
    row("DDPM-M", "p2", 44.0, 31.0, 0.85, nfe=1000, seconds=13.5, spearman=float("nan")),
]


def test_summary_by_hand():
    mae = summarise(ROWS)["CNN"]["mae"]
    assert (mae.mean, mae.min, mae.max, mae.median, mae.n) == (55, 50, 60, 55, 2)
    assert mae.std == pytest.approx(50**0.5)  # (5² + 5²) / (2 - 1)
    assert (mae.q25, mae.q75) == (52.5, 57.5)
    assert "spearman" not in summarise(ROWS)["CNN"]
    ensemble = summarise(ROWS)["DDPM-M"]
    assert (ensemble["spearman"].mean, ensemble["spearman"].n) == (0.5, 1)
    assert (ensemble["psnr"].mean, ensemble["psnr"].n) == (31, 1)


def test_text_table():
    assert text_table(summarise(ROWS)) == (
        "method  MAE (HU, body)     PSNR (dB)             SSIM  evaluations/slice   seconds/slice\n"
        "----------------------------------------------------------------------------------------\n"
        "CNN         55.0 ± 7.1  29.00 ± 1.41  0.8500 ± 0.0707              1 ± 0   0.300 ± 0.071\n"
        "DDPM-M      42.0 ± 2.8         31.00  0.9000 ± 0.0707           1000 ± 0  13.000 ± 0.707\n"
    )


def test_the_table_of_one_patient_has_no_deviation():
    line = text_table(summarise([row("prediction", "p1", 50.04, 28.0, 0.9)])).splitlines()[-1]
    assert line.split() == ["prediction", "50.0", "28.00", "0.9000", "-", "-"]


def test_same_rows_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_metrics(tmp_path / name, ROWS, VOLUME, {"draws": 10})
    for file in ("metrics.csv", "metrics.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_files_hold_every_case_and_every_statistic(tmp_path):
    write_metrics(tmp_path / "new" / "folder", ROWS, VOLUME, {"draws": 10})
    with open(tmp_path / "new/folder/metrics.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["patient"] for line in lines] == ["p1", "p2", "p1", "p2"]
    assert float(lines[1]["mae"]) == 60 and lines[0]["spearman"] == ""
    assert lines[2]["psnr"] == lines[3]["spearman"] == ""  # infinite, undefined
    record = json.loads((tmp_path / "new/folder/metrics.json").read_text())
    assert record["settings"] == {"draws": 10}
    assert record["protocol"]["window"] == [-1000, 2000]
    assert record["cases"][0]["mae"] == 50 and record["cases"][3]["spearman"] is None
    statistics = record["summary"]["CNN"]["mae"]
    assert set(statistics) == {
        *("mean", "std", "min", "max", "median", "q25", "q75", "n", "interval")
    }
    assert statistics["mean"] == 55
    assert statistics["interval"] == [50, 60]  # two patients: nothing between can be excluded
    assert record["summary"]["DDPM-M"]["psnr"]["interval"] == [None, None]  # one finite figure


def test_files_compare_the_methods_and_say_how_little_it_means(tmp_path):
    write_metrics(tmp_path / "few", ROWS, VOLUME, {})
    record = json.loads((tmp_path / "few/metrics.json").read_text())
    assert set(record["comparisons"]) == {"mae", "psnr", "ssim"}
    (mae,) = record["comparisons"]["mae"]
    # Two patients, both better: 2 of the 4 sign patterns are as extreme.
    assert mae == {
        "first": "CNN", "second": "DDPM-M", "median_difference": 13, "p": 0.5, "p_holm": 0.5, "n": 2
    }  # fmt: skip
    assert record["comparisons"]["psnr"][0]["n"] == 1
    assert record["caveat"].startswith("2 patients: with fewer than 6")
    assert record["statistics"]["resamples"] == 9999 and record["refused"] == []
    many = [row(m, f"p{i}", 50.0 + i + j, 28, 0.9) for j, m in enumerate("ab") for i in range(6)]
    refused = [{"case": "p7", "method": "a", "reason": "no mask"}]
    write_metrics(tmp_path / "many", many, VOLUME, {}, refused=refused)
    record = json.loads((tmp_path / "many/metrics.json").read_text())
    assert record["caveat"] is None and record["refused"] == refused
    assert record["comparisons"]["mae"][0]["p"] == pytest.approx(2 / 2**6)


def test_the_order_of_rows_changes_no_comparison(tmp_path):
    """Patients are paired by name, not by their place."""
    write_metrics(tmp_path / "a", ROWS, VOLUME, {})
    write_metrics(tmp_path / "b", [*ROWS[:2], ROWS[3], ROWS[2]], VOLUME, {})
    a, b = (json.loads((tmp_path / n / "metrics.json").read_text()) for n in "ab")
    assert a["comparisons"] == b["comparisons"]


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.json"])
def test_existing_files_are_kept(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=name):
        write_metrics(tmp_path, ROWS, VOLUME, {})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize(
    "rows, words",
    [
        ([], "no row"),
        ([ROWS[0], ROWS[0]], "two rows"),
        (ROWS[:3], "on the same patients"),
    ],
)
def test_rows_that_cannot_be_compared(tmp_path, rows, words):
    with pytest.raises(InputError, match=words):
        write_metrics(tmp_path / "out", rows, VOLUME, {})
    assert not (tmp_path / "out").exists()
