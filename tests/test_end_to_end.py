"""Phantom files to the table: the whole comparison at its smallest."""

import dataclasses
import json
import re

import nibabel as nib
import numpy as np
import pytest

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.protocols import VOLUME
from sde_ct.evaluation.results import write_metrics
from sde_ct.evaluation.table import AVERAGES, DRAWN, METHODS, summarise, text_table
from sde_ct.lab import comparison
from sde_ct.lab.comparison.demands import checks
from sde_ct.lab.comparison.presentation import report_of
from sde_ct.report.html.report_file import write_report

from .programs import call

DRAWS = 4
# ODE is adaptive: its number is known only by running it.
OF_DRAWS = {"DDPM": 8, "EM": 12, "PC": 24, "DPM++": 20, "UniPC": 4, "Distilled": 1}
# All draws of a residual share the two evaluations of the mean, which takes both mirror images.
EVALUATIONS = {
    **{"lookup": 0, "CNN": 1, "GAN": 1, "Mean": 2, "Direct": 8},
    **{name: own + 2 / DRAWS for name, own in OF_DRAWS.items()},
}


@pytest.fixture(scope="module")
def patients(phantoms):
    return comparison.held_out(phantoms)


@pytest.fixture(scope="module")
def networks(runs, tmp_path_factory):
    """The five networks side by side."""
    root = tmp_path_factory.mktemp("networks")
    for name in ("residual", "distilled", "ddpm", "cnn", "gan"):
        (root / name).symlink_to(runs("diffusion" if name == "ddpm" else name))
    return root


def compare(networks, patients, phantoms) -> dict:
    lookup = comparison.lookup_control(phantoms)
    table = {"lookup": {p.id: comparison.apply_lookup(lookup, p, phantoms) for p in patients}}
    return table | comparison.synthesize_all(
        networks, patients, draws=DRAWS, seed=0, progress=lambda batches, label: batches
    )


def rows_in_order(results, patients):
    judged = comparison.judgements_of(results, patients)
    rows = comparison.rows_of(results, patients, VOLUME, judged)
    return sorted(rows, key=lambda r: METHODS.index(r.method))


@pytest.fixture(scope="module")
def results(networks, patients, phantoms):
    return compare(networks, patients, phantoms)


@pytest.fixture(scope="module")
def rows(results, patients):
    return rows_in_order(results, patients)


def test_every_row_is_there_and_complete(rows, patients, phantoms):
    assert [r.method for r in rows] == list(METHODS)
    assert {r.patient for r in rows} == set(phantoms.split["test"]) == {p.id for p in patients}
    for r in rows:
        f = r.figures
        assert 0 < f["mae"] < 2000 and 0 < f["psnr"] < 60 and -1 < f["ssim"] < 1
        assert f["seconds"] > 0
        if r.method in AVERAGES:
            assert -1 <= f["spearman"] <= 1 and min(f["spread"], f["crps"], f["spread_skill"]) > 0
    cost = {r.method: r.figures["nfe"] for r in rows}
    assert {name: cost[name] for name in EVALUATIONS} == EVALUATIONS
    assert cost["ODE"] > 6  # adaptive: at least one step of a Runge-Kutta pair
    for average, single in zip(AVERAGES, DRAWN, strict=True):
        assert cost[average] == pytest.approx(DRAWS * cost[single])


def test_averages_beat_single_draws(rows):
    """E|x - mean of M|² = bias² + var/M: whatever the network has learnt, the mean errs less."""
    psnr = {r.method: r.figures["psnr"] for r in rows}
    for average, single in zip(AVERAGES, DRAWN, strict=True):
        assert psnr[average] > psnr[single] + 0.2


def test_the_lookup_beats_a_constant(rows, patients):
    (patient,) = patients
    hu = patient.ct.array[patient.mask.array > 0]
    assert rows[0].method == "lookup" and rows[0].figures["mae"] < np.abs(hu - np.median(hu)).mean()


def test_findings_and_demands_are_judged(rows, results, patients):
    ambiguity = comparison.ambiguity_of(results, patients)
    assert set(ambiguity) == set(DRAWN)
    slices = (patients[0].ambiguous.array > 0).any(axis=(0, 1)).sum()
    assert all(o.draws == DRAWS * slices for o in ambiguity.values())
    answers = findings(rows)
    assert len(answers) == 5 and all(f.verdict != "not measured" for f in answers)
    judged = checks(rows, ambiguity)
    assert len(judged) == 8 + 10 + 3 + 1 + 8 + 8
    by_demand = {c.demand: c for c in judged}
    demand = by_demand["network evaluations ODE < EM < PC"]
    nfe = {r.method: r.figures["nfe"] for r in rows}
    assert demand.passed == (nfe["ODE"] < nfe["EM"] < nfe["PC"])
    assert all(line.split()[0] in METHODS for line in text_table(summarise(rows)).splitlines()[2:])


def test_the_draws_of_every_sampler_are_judged(results, rows, patients):
    judged = comparison.judgements_of(results, patients)
    assert list(judged) == list(AVERAGES)
    (patient,) = patients
    for r in rows:
        if r.method in AVERAGES:
            found = judged[r.method].patients[patient.id]
            assert found.draws == DRAWS and found.figures.items() <= r.figures.items()


def test_files_lie_on_the_mrs_grid(results, rows, patients, tmp_path):
    comparison.write_volumes(results, tmp_path)
    comparison.pictures(results, patients[0], tmp_path)
    write_metrics(tmp_path, rows, VOLUME, {"draws": DRAWS})
    (patient,) = patients
    name = f"{patient.id}.nii.gz"
    expected = {f"sct/{method}/{name}" for method in METHODS}
    expected |= {f"sct_std/{method}/{name}" for method in AVERAGES}
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.nii.gz")} == expected
    for path in expected:
        image = nib.load(tmp_path / path)
        assert image.shape == patient.mr.array.shape and image.get_data_dtype() == np.int16
        np.testing.assert_allclose(image.affine, patient.mr.affine, atol=1e-4)
        voxels = np.asarray(image.dataobj)
        assert voxels.min() >= (-1000 if path.startswith("sct/") else 0) and voxels.max() <= 2000
    for picture in ("comparison.png", "uncertainty.png", "comparison.pdf", "uncertainty.pdf"):
        assert (tmp_path / picture).stat().st_size > 20_000
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + len(METHODS)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert set(record["summary"]) == set(METHODS) and record["settings"] == {"draws": DRAWS}


def test_the_report_shows_every_method(results, rows, patients, networks, tmp_path):
    (tmp_path / "runs").symlink_to(networks)
    judged = comparison.judgements_of(results, patients)
    report = report_of(results, patients, rows, judged, tmp_path, {"Settings": {"draws": DRAWS}})
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text("utf-8")
    found = json.loads(re.search(r'id="patient-0">(.*?)</script>', text)[1])
    shown = {m["name"]: len(m["draws"]) for m in found["methods"]}
    assert shown == {name: DRAWS * (name in DRAWN) for name in results}
    assert text.count('<li><p><span class="verdict') == 5  # the paper's findings
    assert set(report.curves) == {"residual", "distilled", "ddpm", "cnn", "gan"}
    assert "Network residual" in text and "config.sde.sigma_max" in text


def test_the_same_seed_gives_the_same_bytes(
    networks, patients, phantoms, rows, tmp_path, monkeypatch
):
    some = {name: comparison.ENTRIES[name] for name in ("GAN", "EM", "ODE")}
    monkeypatch.setattr("sde_ct.lab.comparison.synthesis.ENTRIES", some)
    again = rows_in_order(compare(networks, patients, phantoms), patients)
    first = [r for r in rows if r.method in {a.method for a in again}]
    assert len(first) == len(again) == 6
    contents = []
    for name, found in (("a", first), ("b", again)):
        timeless = [dataclasses.replace(r, figures={**r.figures, "seconds": None}) for r in found]
        write_metrics(tmp_path / name, timeless, VOLUME, {"draws": DRAWS})
        contents.append([p.read_bytes() for p in sorted((tmp_path / name).iterdir())])
    assert contents[0] == contents[1]


def test_evaluate_scores_what_synthesize_wrote(runs, phantoms, patients, results, rows, tmp_path):
    """The programs give the figures of the comparison, but for HU rounded in the file."""
    (patient,) = patients
    folder = phantoms.cases[patient.id].folder
    done = call(
        "synthesize", f"--workdir={runs('residual')}", f"--mr={folder / 'mr.nii.gz'}",
        "--sampler=em", f"--mask={folder / 'mask.nii.gz'}", f"--draws={DRAWS}",
        f"--output={tmp_path}",
    )  # fmt: skip
    assert done.status == 0, done.err
    written = nib.load(tmp_path / "sct" / f"{patient.id}.nii.gz")
    mean = results["EM"][patient.id].mean.array
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.rint(mean).astype(np.int16))
    arguments = [
        f"--prediction={tmp_path / 'sct'}",
        f"--reference={phantoms.folder.parent / 'cohort'}",
    ]
    arguments += [
        f"--spread={tmp_path / 'sct_std'}",
        f"--output={tmp_path / 'scores'}",
        "--method=EM-M",
    ]
    done = call("evaluate", *arguments)
    assert done.status == 0 and "EM-M" in done.out, done.err
    (case,) = json.loads((tmp_path / "scores" / "metrics.json").read_text())["cases"]
    (expected,) = (r for r in rows if r.method == "EM-M")
    assert case["patient"] == patient.id
    for figure, tolerance in {"mae": 0.5, "psnr": 0.01, "ssim": 1e-3, "spearman": 0.01}.items():
        assert case[figure] == pytest.approx(expected.figures[figure], abs=tolerance)
    assert "metrics.csv exists already" in call("evaluate", *arguments).error
