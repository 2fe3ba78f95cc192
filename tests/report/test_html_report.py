"""The page as text: exact voxels, nothing unescaped, the same bytes, below its limit."""

import base64
import hashlib
import html
import json
import re
import shutil
import zlib

import nibabel as nib
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.evaluation.table import COLUMNS, Row
from sde_ct.report.html import calibration_section, patient_data, report_file
from sde_ct.report.html.metric_tables import by_patient, over_patients
from sde_ct.report.html.patient_data import Plan, encode_patient, middle, plan
from sde_ct.report.html.patients_from_files import choice, choose, load
from sde_ct.report.html.report_content import PatientView, Prediction, Report
from sde_ct.report.html.report_file import write_report
from sde_ct.report.html.training_curves import picture, read_curves
from sde_ct.report.html.voxel_encoding import encode, quantise_mr
from sde_ct.uncertainty import judgement
from sde_ct.uncertainty.judgement import judge
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume, canonical

from ..programs import call
from ..rows import row
from . import html_cohort
from .html_cohort import CURVE, NAMES


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    html_cohort.write_cohort(folder)
    return folder


def decoded(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """What volumes.js does, by a plain loop."""
    packed = zlib.decompress(base64.b64decode(text))
    value, values = 0, []
    for low, high in zip(packed[: len(packed) // 2], packed[len(packed) // 2 :], strict=True):
        folded = low | high << 8
        value += (folded >> 1) ^ -(folded & 1)
        values.append((value + 2**15) % 2**16 - 2**15)
    return np.array(values).reshape(shape)


def noise(shape=(20, 18, 12), seed=0) -> Volume:
    """The hardest to pack: HU without neighbours that are alike."""
    hu = np.random.default_rng(seed).normal(0, 300, shape)
    return Volume(np.rint(hu).astype(np.float32), np.diag([2.0, 2.0, 3.0, 1.0]), "HU")


def noisy_view(name="p", draws=4) -> PatientView:
    mask = noise().with_array(np.ones((20, 18, 12), np.uint8), "mask")
    several = tuple(noise(seed=s) for s in range(2, 2 + draws))
    method = Prediction(noise(seed=1), noise(seed=1), several)
    return PatientView(name, noise(seed=9), noise(), mask, {"m": method})


def page(tmp_path, whole, **options) -> str:
    write_report(tmp_path / "report.html", whole, **options)
    return (tmp_path / "report.html").read_text("utf-8")


def data_of(text: str, number: int) -> dict:
    data = re.search(rf'id="patient-{number}">(.*?)</script>', text)
    return json.loads(data[1])


def packed(text: str) -> int:
    """Characters of all volumes."""
    volumes = "".join(re.findall(r'id="patient-\d+">(.*?)</script>', text))
    return sum(map(len, re.findall(r'"([A-Za-z0-9+/=]{50,})"', volumes)))


def test_voxels_come_back_exactly():
    ends = np.array([-32768, 32767, -32768, 0, -1, 1, 32767, 32767], np.int16).reshape(2, 2, 2)
    assert (decoded(encode(ends), ends.shape) == ends).all()
    some = np.random.default_rng(0).integers(-(2**15), 2**15, (3, 4, 5)).astype(np.int16)
    assert (decoded(encode(some), some.shape) == some).all()


def test_an_mr_is_kept_whole_or_in_steps():
    whole = noise().with_array(np.arange(24.0).reshape(2, 3, 4), "a.u.")
    voxels, scale = quantise_mr(whole)
    assert scale == 1 and (voxels.transpose(2, 1, 0) == whole.array).all()
    fine = whole.with_array(whole.array * 1e4 + 0.25)
    voxels, scale = quantise_mr(fine)
    error = np.abs(scale * voxels.transpose(2, 1, 0) - fine.array)
    assert error.max() <= scale / 2 and scale == fine.array.max() / 4095


def test_the_page_holds_the_files_voxels_with_axes_turned(cohort, tmp_path):
    text = page(tmp_path, html_cohort.report(cohort))
    for number, name in enumerate(NAMES):
        data = data_of(text, number)
        shape = tuple(data["shape"][::-1])
        ct = html_cohort.voxels(cohort, name, "ct")
        # Axes P, S, R of the file to z, y, x with x to the right, y to the front, z upwards.
        assert (decoded(data["ct"], shape) == ct.transpose(1, 0, 2)[:, ::-1, :]).all()
        draws = [decoded(d, shape) for d in data["methods"][1]["draws"]]
        assert (draws[0] == decoded(data["ct"], shape)).all() and (draws[0] != draws[1]).any()


def test_the_same_report_gives_the_same_bytes(cohort, tmp_path):
    pages = [page(tmp_path / str(n), html_cohort.report(cohort)) for n in range(2)]
    assert pages[0] == pages[1]


def test_nothing_is_overwritten_or_half_written(cohort, tmp_path):
    page(tmp_path, html_cohort.report(cohort))
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        page(tmp_path, html_cohort.report(cohort, title="another"))
    assert (tmp_path / "report.html").read_bytes() == before
    assert page(tmp_path, html_cohort.report(cohort, title="another"), overwrite=True)
    odd = html_cohort.view(cohort, NAMES[0])._replace(mr=noise())
    with pytest.raises(InputError, match="1PA001: the MR lies on another grid"):
        page(tmp_path / "odd", html_cohort.report(cohort, patients={NAMES[0]: lambda: odd}))
    assert not (tmp_path / "odd").exists()


def test_every_text_is_escaped(cohort, tmp_path):
    text = page(tmp_path, html_cohort.report(cohort))
    assert "<script>document" not in text and "<phantoms>" not in text and "<more>" not in text
    scripts = re.findall(r"<script([^>]*)>", text)
    # Two patients, the colours and the page's own: no name has added one.
    assert len(scripts) == 4 and scripts[-1] == "" and text.count("</script>") == 4
    assert html.unescape(re.search(r"<title>(.*?)</title>", text)[1]) == "Two <phantoms> & a title"
    assert data_of(text, 1)["name"] == NAMES[1]


def test_the_policy_names_the_only_script_and_style(cohort, tmp_path):
    text = page(tmp_path, html_cohort.report(cohort))
    policy = html.unescape(re.search(r'Policy" content="(.*?)"', text)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:" and "unsafe" not in policy
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    outside = re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)
    assert not outside and "://" not in text


def test_a_report_of_rows_alone(tmp_path):
    rows = [row("ours", "p1", 50.0, 28.0, 0.9)]
    text = page(tmp_path, Report("Alone", rows))
    assert "50.0" in text and 'id="viewer"' not in text and 'id="training"' not in text
    assert "drawProfile" not in text  # no script for what is not there


def test_what_does_not_fit_is_left_out_and_said(tmp_path, monkeypatch):
    """20 * 18 * 12 voxels of noise take two bytes each and a third more as base64."""
    monkeypatch.setattr(report_file, "REST", 0)
    rows = [row("m", n, 50.0, 28.0, 0.9) for n in "ab"]
    patients = {n: lambda n=n: noisy_view(n) for n in "ab"}
    whole = Report("Noise", rows, patients=patients)
    everything = page(tmp_path / "all", whole)
    assert "To stay below" not in everything
    size = packed(everything)
    still = len(page(tmp_path / "still", whole._replace(patients={})).encode())
    expected = {0.85: "a: 2 of 4 draws", 0.55: "a: the middle", 0.25: "not shown: b"}
    for share, sentence in expected.items():
        monkeypatch.setattr(report_file, "LIMIT", still + int(share * size))
        folder = tmp_path / str(share)
        text = page(folder, whole)
        assert sentence in text and "To stay below" in text
        assert packed(text) <= share * size


def test_a_page_of_very_many_patients_stays_below_the_limit(tmp_path, monkeypatch):
    """A table of 300 lines is larger than this limit; so is one of 5000 than the real one."""
    rng, limit = np.random.default_rng(0), 300_000
    names = [column.name for column in COLUMNS[:20]]
    rows = [
        Row(m, f"p{n:03d}", dict(zip(names, rng.uniform(10, 90, len(names)), strict=True)))
        for m in "ab"
        for n in range(150)
    ]
    whole = Report("Many", rows, patients={"p": noisy_view})
    every = page(tmp_path / "all", whole)
    assert "Every patient" in every and len(every) > limit and "metrics.csv" not in every
    monkeypatch.setattr(report_file, "LIMIT", limit)
    monkeypatch.setattr(report_file, "REST", 50_000)
    text = page(tmp_path / "few", whole)
    assert len(text.encode()) <= limit and "p149" not in text
    assert "too large for this page: see metrics.csv beside it" in text
    assert packed(text) == packed(every)  # the slices have what is left


def test_draws_go_first_then_slices(monkeypatch):
    view = noisy_view()
    sizes = {}
    for chosen in (Plan(12, 4), Plan(12, 2), Plan(8, 2), Plan(8, 0), Plan(1, 0)):
        fixed, each = patient_data._slice_bytes(view)
        sizes[chosen] = chosen.slices * (fixed + chosen.draws * each)
    for chosen, size in sizes.items():
        assert plan(view, size + 1) == chosen
    assert plan(view, 10) == Plan(1, 0)
    assert plan(view._replace(methods={}), 1e9) == Plan(12, 0)
    assert middle(12, 5) == slice(3, 8)
    first = encode_patient(view, sizes[Plan(8, 2)] + 1)
    assert first.data["first"] == 2 and first.data["depth"] == 12
    assert first.shown == "p: the middle 8 of 12 slices and 2 of 4 draws"


def test_tables_sort_by_what_they_show():
    rows = [
        row("CNN", "p1", 50.0, 28.0, 0.90, nfe=1),
        row("CNN", "p2", 60.0, float("inf"), 0.80, nfe=1),
        row("M", "p1", 40.0, 30.0, 0.95, spread=12.0),
        row("M", "p2", 44.0, 31.0, 0.85, spread=14.0),
    ]
    accuracy, draws = over_patients(rows)
    mae = accuracy.head.index("MAE (HU, body)")
    cell = accuracy.lines[0][mae]
    assert (cell.text, cell.deviation, float(cell.key)) == ("55.0", "± 7.1", 55.0)
    assert accuracy.lines[1][accuracy.head.index("evaluations/slice")].key == ""
    assert [line[0].text for line in draws.lines] == ["M"] and draws.head[1:] == ["spread (HU)"]
    cases = by_patient(rows)
    assert [line[1].text for line in cases.lines] == ["p1", "p2", "p1", "p2"]
    assert cases.lines[1][cases.head.index("PSNR (dB)")].text == "-"


def test_training_curves_of_resumed_and_torn_runs(tmp_path):
    (tmp_path / "ddpm").mkdir()
    (tmp_path / "empty").mkdir()
    lines = [*map(json.dumps, CURVE), json.dumps({"step": 20, "group": "train", "loss": 0.25})]
    (tmp_path / "ddpm/metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 30, "gro')
    (tmp_path / "empty/metrics.jsonl").write_text("")
    curves = read_curves(tmp_path)
    assert curves["ddpm"][:3] == CURVE and len(curves["ddpm"]) == 4 and curves["empty"] == []
    drawn = picture(curves)
    assert "ddpm, train: 1 at step 10, 0.25 at 20" in drawn.alt and drawn.png[:4] == b"\x89PNG"
    assert "ddpm, validation: 0.625 at step 20" in drawn.alt
    assert picture({"empty": []}) is None and picture({}) is None


def test_evaluate_leaves_a_report_of_foreign_predictions(cohort, tmp_path):
    """Files alone, no work directory; bytes do not depend on where the folders lie."""
    for number in range(2):
        root = tmp_path / f"somewhere{number}"
        for place in ("a", "b"):
            (root / "pelvis" / place).mkdir(parents=True)
            for kind in ("mr", "ct", "mask"):
                shutil.copy(cohort / place / f"{kind}.nii.gz", root / "pelvis" / place)
            for method in ("lookup", "exact"):
                (root / method).mkdir(exist_ok=True)
                shutil.copy(cohort / place / f"{method}.nii.gz", root / method / f"{place}.nii.gz")
        for place in ("c", "d"):  # without a prediction
            (root / "pelvis" / place).mkdir()
            shutil.copy(cohort / "a/ct.nii.gz", root / "pelvis" / place)
        done = call(
            "evaluate", f"--prediction={root}/lookup", f"--prediction={root}/exact",
            f"--reference={root}/pelvis", f"--output={root}/out",
        )  # fmt: skip
        assert done.status == 0 and "report.html" in done.out, done.err
    pages = [(tmp_path / f"somewhere{n}/out/report.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1] and b"somewhere" not in pages[0]
    text = pages[0].decode()
    assert text.count("Left out of lookup: c, d. ") == 1 and 'id="findings"' not in text
    data = data_of(text, 0)
    assert data["mr"] and [m["name"] for m in data["methods"]] == ["lookup", "exact"]
    exact = np.asarray(nib.load(tmp_path / "somewhere0/exact" / f"{data['name']}.nii.gz").dataobj)
    shown = decoded(data["methods"][1]["mean"], tuple(data["shape"][::-1]))
    assert (shown == exact.transpose(1, 0, 2)[:, ::-1, :]).all()


def test_patients_shown_are_the_middle_and_the_ends():
    rows = [
        row(method, f"p{n}", 50.0 + n + shift, 28.0, 0.9)
        for method, shift in (("A", 0.0), ("B", 9.0))
        for n in (3, 1, 4, 0, 2, 8, 6, 7, 5)
    ]
    assert choose(rows) == ["p4", "p8", "p0", "p6", "p2"]
    assert choice(choose(rows), 9).startswith("5 of 9 patients") and choice(["p"], 1) == ""
    assert choose(rows[:2]) == ["p1", "p3"]


def test_draws_of_files_give_their_spread_and_a_strange_mr_is_not_shown(cohort, tmp_path):
    folder = shutil.copytree(cohort / "a", tmp_path / "a")
    files = CaseFiles(
        "a", folder / "exact.nii.gz", folder / "ct.nii.gz", None, None,
        (folder / "exact_0.nii.gz", folder / "exact_1.nii.gz"),
    )  # fmt: skip
    view = load({"exact": files})
    known = read_volume(folder / "exact_std.nii.gz", "a.u.")
    # In the file it is rounded to whole HU.
    given = canonical(view.methods["exact"].spread).array
    np.testing.assert_allclose(given, canonical(known).array, atol=0.5)
    assert encode_patient(view, 1e9).data["methods"][0]["ofDraws"] == 2
    assert view.mr is not None and view.mask.array.any()
    write_volume(folder / "mr.nii.gz", noise(), overwrite=True)
    assert load({"exact": files}).mr is None
    (folder / "mr.nii.gz").write_bytes(b"torn")
    assert load({"exact": files}).mr is None


def test_the_draws_calibration_is_reported(cohort, tmp_path):
    """Two draws, one of them the CT itself: it lies within their range everywhere."""
    view = html_cohort.view(cohort, NAMES[0])
    draws = np.stack([draw.array for draw in view.methods["exact"].draws])
    one = judge(draws, view.ct.array, view.mask.array)
    judged = {"exact-M": judgement.over_patients({NAMES[0]: one})}
    table = calibration_section.table(judged)
    assert "(0.333 is right)" in table.head[3]
    whole = table.lines[0]
    scores = judged["exact-M"].over_patients["all"]
    assert [cell.text for cell in whole[:2]] == ["exact-M", "all"]
    assert float(whole[3].key) == scores["range_coverage"].mean
    assert float(whole[4].key) == scores["crps"].mean and whole[4].deviation == ""  # one patient
    text = page(tmp_path, html_cohort.report(cohort, judgements=judged))
    assert f"exact-M: spread-skill {scores['spread_skill'].mean:.2f}" in text
    assert "Calibration of the draws, means over patients" in text
