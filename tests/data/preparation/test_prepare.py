"""Patients' files -> prepared data, and prepared data that is damaged."""

import hashlib
import json
import re
from datetime import datetime
from math import inf, nan

import numpy as np
import pytest
from matplotlib.image import imread
from scipy import ndimage

from sde_ct.data.inputs import cut_mr
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.prepared import read_prepared
from sde_ct.data.sources.case_files import Case
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.data.split import split_patients
from sde_ct.errors import InputError
from sde_ct.volumes.slice_grid import from_slices

from ..conftest import AFFINE, SHAPE, patient, save


def prepared_of(root, output, **options):
    cases = find_cases("synthrad2023", root, Patterns())
    split = split_patients([case.id for case in cases])
    return prepare(cases, output, source="synthrad2023", split=split, **options)


def test_slices_lead_back_to_the_files_voxel_by_voxel(cohort, tmp_path):
    lines = []
    data = prepared_of(cohort, tmp_path / "data", report=lines.append)
    assert data.size == (18, 20) and len(data.cases) == len(lines) == 5
    assert "1PA000  " in lines[0] and "7 slices of 18 x 20" in lines[0]
    for case in data.cases.values():
        assert len(case) == 7
        for kind, unit in (("mr", "a.u."), ("ct", "HU"), ("mask", "mask")):
            slices, native = case.load(kind), case.volume(kind)
            assert slices.dtype == {"mr": "f4", "ct": "i2", "mask": "u1"}[kind]
            back = from_slices(slices, case.grid, unit=unit)
            np.testing.assert_array_equal(back.array, native.array)
            np.testing.assert_array_equal(back.affine, native.affine)


def test_the_index_tells_where_everything_came_from(cohort, tmp_path):
    data = prepared_of(cohort, tmp_path / "data", spacing=(2.4, 2.4), size=(8, 8))
    index = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert (index["version"], index["source"]) == (2, "synthrad2023")
    assert (index["spacing"], index["size"]) == ([2.4, 2.4], [8, 8])
    assert {k: tuple(v) for k, v in index["split"].items()} == data.split
    record = index["cases"]["1PA003"]
    for kind in ("mr", "ct", "mask"):
        content = (cohort / "Task1/pelvis/1PA003" / f"{kind}.nii.gz").read_bytes()
        assert record["sha256"][kind] == hashlib.sha256(content).hexdigest()
    body = data.cases["1PA003"].volume("body").array > 0  # never the given mask
    expected = np.percentile(patient(seed=3)["mr"][body], 99.5)
    np.testing.assert_allclose(record["mr_percentiles"]["99.5"], expected)
    assert record["mask"] == "given" and record["voxel_mm"] == pytest.approx([1.2, 1.2, 3.0])


def test_preparation_and_synthesis_cut_the_mr_alike(cohort, tmp_path):
    data = prepared_of(cohort, tmp_path / "data", spacing=(1.7, 1.5))
    case = data.cases["1PA001"]
    cut = cut_mr(case.volume("mr"), spacing=data.spacing)
    np.testing.assert_array_equal(cut.mr, case.load("mr"))
    np.testing.assert_array_equal(cut.outline.array, case.volume("body").array)
    assert cut.grid == case.grid and cut.percentiles == case.percentiles


def test_padding_of_a_scanner_counts_as_air_and_a_missing_mask_is_computed(tmp_path):
    files = patient()
    files["ct"][0] = -3024
    save(tmp_path / "p" / "mr.nii.gz", files["mr"])
    save(tmp_path / "p" / "ct.nii.gz", files["ct"])
    data = prepare(
        find_cases("pairs", tmp_path / "p", Patterns()),
        tmp_path / "data",
        source="pairs",
        split={"train": ("p",)},
        size=(24, 24),
    )
    case = data.cases["p"]
    assert case.load("ct").min() > -1024 and case.record["mask"] == "computed"
    assert (data.split["validation"], data.split["test"]) == ((), ())
    mask = case.load("mask")
    truth = np.pad(files["mask"].transpose(2, 1, 0)[:, ::-1, ::-1], ((0, 0), (3, 3), (2, 2)))
    assert mask.shape == truth.shape == (7, 24, 24)
    # The outline holds the body and at most one voxel around it; the padding is no body.
    around = ndimage.binary_dilation(truth[0], np.ones((3, 3)))
    assert (mask >= truth).all() and (mask[:, 3:-3, 2:-2] <= around[3:-3, 2:-2]).all()


def test_what_the_ct_did_not_measure_is_masked(cohort, tmp_path):
    """Padding around a round field of view; and air that was set to one value, which is air."""
    x, y, _ = np.indices(SHAPE)
    disc = (x - 9.5) ** 2 + (y - 8.5) ** 2 <= 7**2
    for name, padding in (("1PA001", -2000), ("1PA002", -1024)):
        files = patient(seed=int(name[-1]))
        files["ct"][8, 12] = -900  # gas
        kept = disc if name == "1PA001" else files["mask"] > 0
        save(
            cohort / f"Task1/pelvis/{name}/ct.nii.gz",
            np.where(kept, files["ct"], padding).astype("i2"),
        )
    data = prepared_of(cohort, tmp_path / "data")
    report = json.loads((tmp_path / "data" / "report.json").read_text())["patients"]
    body = patient(seed=1)["mask"] > 0
    case = data.cases["1PA001"]
    np.testing.assert_array_equal(case.volume("mask").array > 0, body & disc)
    np.testing.assert_array_equal(case.volume("valid").array > 0, disc)
    assert case.volume("ct").array[~disc].max() == -2000  # as measured
    # What teaches continues tissue in the body, and air outside: no cut-off patient, no padding.
    seen = case.volume("body").array > 0
    taught = from_slices(case.load("ct"), case.grid).array
    assert (taught[~disc & seen] == 0).all() and (taught[~disc & ~seen] == -1000).all()
    np.testing.assert_array_equal(from_slices(case.load("valid"), case.grid).array > 0, disc)
    lost = 1 - (body & disc).sum() / body.sum()
    assert report["1PA001"]["body_outside_field_of_view"] == pytest.approx(lost, abs=1e-4)
    assert f"{100 * lost:.1f} % of the body lies outside" in report["1PA001"]["warnings"][0]
    slices = data.cases["1PA001"]
    assert slices.load("ct")[slices.load("mask") > 0].min() == -900
    whole = report["1PA002"]
    assert whole["body_outside_field_of_view"] == 0 and whole["warnings"] == []
    given = data.cases["1PA002"]
    assert given.record["mask"] == "given" and given.load("valid").all()
    np.testing.assert_array_equal(given.volume("mask").array, patient(seed=2)["mask"])


def other_grid(path):
    affine = AFFINE.copy()
    affine[2, 3] += 1.0
    save(path, patient()["ct"], affine)


BAD = {
    "shape": (
        lambda p: save(p / "ct.nii.gz", patient((20, 18, 8))["ct"]),
        r"ct\.nii\.gz and .*mr\.nii\.gz lie on different grids \(shapes \(20, 18, 8\) and",
    ),
    "geometry": (lambda p: other_grid(p / "ct.nii.gz"), "corners 1 mm apart"),
    "mask": (
        lambda p: save(p / "mask.nii.gz", patient((9, 9, 9))["mask"]),
        r"mask\.nii\.gz and .*mr\.nii\.gz lie on different grids",
    ),
    "empty mask": (
        lambda p: save(p / "mask.nii.gz", np.zeros(SHAPE, "u1")),
        r"mr\.nii\.gz has an empty body mask",
    ),
    "not HU": (lambda p: save(p / "ct.nii.gz", patient()["ct"] + 1024), r"HU \+ 1024"),
    "missing": (lambda p: (p / "mr.nii.gz").unlink(), "holds no MR"),
    "truncated": (lambda p: (p / "mr.nii.gz").write_bytes(b"\x1f\x8b"), "damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_patient_is_refused_with_its_reason_and_the_rest_goes_on(cohort, tmp_path, case):
    damage, sentence = BAD[case]
    damage(cohort / "Task1" / "pelvis" / "1PA002")
    lines = []
    data = prepared_of(cohort, tmp_path / "data", report=lines.append)
    whole = ["1PA000", "1PA001", "1PA003", "1PA004"]
    assert sorted(data.cases) == sorted(sum(data.split.values(), ())) == whole
    assert sorted(p.name for p in (tmp_path / "data" / "cases").iterdir()) == whole
    (line,) = (line for line in lines if line.startswith("1PA002"))
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    assert re.search(sentence, report["refused"]["1PA002"]) and re.search(sentence, line)
    assert sorted(report["patients"]) == whole


def test_where_nobody_is_left_nothing_is(cohort, tmp_path):
    for number in range(5):
        (cohort / f"Task1/pelvis/1PA00{number}/ct.nii.gz").write_bytes(b"cut")
    sentence = "no patient is usable, 5 of 5 were refused, such as 1PA000: .*ct.nii.gz is damaged"
    with pytest.raises(InputError, match=sentence):
        prepared_of(cohort, tmp_path / "out" / "data")
    assert not list((tmp_path / "out").iterdir())


def test_slices_of_two_sizes_stop_everything(cohort, tmp_path):
    for kind, array in patient((22, 18, 7)).items():
        save(cohort / "Task1" / "pelvis" / "1PA002" / f"{kind}.nii.gz", array)
    sentence = (
        r"1PA000 have \(18, 20\) pixels, but those of 1PA002 have \(18, 22\): give one --size"
    )
    with pytest.raises(InputError, match=sentence):
        prepared_of(cohort, tmp_path / "out" / "data")
    assert not list((tmp_path / "out").iterdir())


def times(folder):
    return {p.parent.name: p.stat().st_mtime_ns for p in folder.glob("cases/*/case.json")}


def test_a_second_run_does_only_what_is_missing_or_has_changed(cohort, tmp_path):
    place, output = cohort / "Task1" / "pelvis", tmp_path / "data"
    whole = (place / "1PA004" / "ct.nii.gz").read_bytes()
    (place / "1PA004" / "ct.nii.gz").write_bytes(b"cut")
    first = prepared_of(cohort, output)
    before = times(output)
    assert len(before) == 4
    (place / "1PA004" / "ct.nii.gz").write_bytes(whole)
    array = patient(seed=1)["ct"] + 1
    save(place / "1PA001" / "ct.nii.gz", array)
    (output / "cases" / ".1PA003-77").mkdir()  # of a run that was killed
    second = prepared_of(cohort, output)
    after = times(output)
    assert {name for name in after if after[name] != before.get(name)} == {"1PA001", "1PA004"}
    assert len(second.cases) == 5 and not list((output / "cases").glob(".*"))
    np.testing.assert_array_equal(
        from_slices(second.cases["1PA001"].load("ct"), second.cases["1PA001"].grid).array, array
    )
    for part, names in first.split.items():
        assert set(names) <= set(second.split[part])
    assert prepared_of(cohort, output) == second and times(output) == after
    (output / "cases" / "1PA002" / "valid.nii.gz").unlink()
    assert prepared_of(cohort, output) == second


def test_an_interrupted_run_leaves_whole_patients_and_goes_on(cohort, tmp_path, monkeypatch):
    output, saved = tmp_path / "data", np.save

    def interrupted(path, *args, **options):
        if "1PA002" in str(path) and path.name == "ct.npy":
            raise KeyboardInterrupt
        saved(path, *args, **options)

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared_of(cohort, output)
    monkeypatch.undo()
    assert sorted(p.name for p in (output / "cases").iterdir()) == ["1PA000", "1PA001"]
    with pytest.raises(InputError, match=r"dataset\.json does not exist"):
        read_prepared(output)
    before = times(output)
    assert len(prepared_of(cohort, output).cases) == 5
    assert {name: times(output)[name] for name in before} == before


@pytest.mark.slow
def test_processes_write_what_one_would(cohort, tmp_path):
    (cohort / "Task1/pelvis/1PA001/ct.nii.gz").write_bytes(b"cut")
    one, two = (prepared_of(cohort, tmp_path / str(n), workers=n) for n in (1, 2))
    assert one.split == two.split and list(one.cases) == list(two.cases)
    for name in one.cases:
        for kind in ("mr", "ct", "mask"):
            np.testing.assert_array_equal(one.cases[name].load(kind), two.cases[name].load(kind))
    reports = [json.loads((tmp_path / n / "report.json").read_text()) for n in "12"]
    assert reports[0]["refused"].keys() == reports[1]["refused"].keys() == {"1PA001"}


def test_the_report_tells_what_was_found(cohort, tmp_path):
    files = patient(seed=1)
    files["ct"][10, 9, 3] = 19000
    save(cohort / "Task1/pelvis/1PA001/ct.nii.gz", files["ct"])
    shifted = np.roll(patient(seed=2)["ct"], 8, axis=0)
    save(cohort / "Task1/pelvis/1PA002/ct.nii.gz", shifted)
    data = prepared_of(cohort, tmp_path / "data", pictures=True)
    report = json.loads((tmp_path / "data" / "report.json").read_text())
    assert datetime.fromisoformat(report["made"]).tzinfo and report["versions"]["numpy"]
    assert report["request"] == {
        "source": "synthrad2023", "spacing": None, "size": None, "crop_to_body": False,
        "register": None, "pictures": True,
    }  # fmt: skip
    plain, metal, apart = (report["patients"][f"1PA00{n}"] for n in range(3))
    assert plain["voxel_mm"] == pytest.approx([1.2, 1.2, 3.0]) and plain["slices"] == 7
    assert plain["body_overlap_dice"] == 1 and plain["warnings"] == []
    assert metal["hu_range_in_file"][1] == 19000 and metal["hu_range"][1] == 3071
    assert metal["metal_ml"] == pytest.approx(1.2 * 1.2 * 3.0 / 1000, abs=5e-4)
    assert metal["warnings"] == ["0.004 ml lie above 3071 HU (metal) and were clipped"]
    assert data.cases["1PA001"].load("ct").max() == 3071
    assert apart["body_overlap_dice"] < 0.7 and "may not be registered" in apart["warnings"][0]
    for name in data.cases:
        red, *_ = imread(tmp_path / "data" / "qc" / f"{name}.png").T
        assert red.shape[0] == 1350 and red.std() > 0.1  # 9 inches at 150 dpi, not empty


@pytest.mark.parametrize("name", ["患者_1", "ד_x_y", "a_$x_$"])
def test_a_name_that_the_font_lacks_or_reads_as_a_formula_is_drawn_without_a_warning(
    tmp_path, name, recwarn
):
    for kind, array in patient().items():
        save(tmp_path / "in" / name / f"{kind}.nii.gz", array)
    cases = find_cases("pairs", tmp_path / "in", Patterns())
    split = {"train": (name,)}
    prepare(cases, tmp_path / "d", source="pairs", split=split, size=(24, 24), pictures=True)
    assert not [str(w.message) for w in recwarn if issubclass(w.category, UserWarning)]
    assert imread(tmp_path / "d" / "qc" / f"{name}.png").std() > 0.1


def test_slices_are_cut_about_the_body(tmp_path):
    """The body lies in a corner; the slices hold all of it where cut about its middle."""
    shape = (40, 30, 4)
    body = np.zeros(shape, "u1")
    body[3:15, 16:28] = 1
    mr = 300.0 * body + np.random.default_rng(0).integers(0, 10, shape)
    for kind, array in {"mr": mr, "ct": 1040.0 * body - 1000, "mask": body}.items():
        save(tmp_path / "p" / f"{kind}.nii.gz", array.astype("f4"))
    case = Case("p", *(tmp_path / "p" / f"{k}.nii.gz" for k in ("mr", "ct", "mask")))

    def report(output, **options):
        split = {"train": ("p",)}
        data = prepare([case], output, source="s", split=split, size=(16, 16), **options)
        return data.cases["p"], json.loads((output / "report.json").read_text())["patients"]["p"]

    cut, record = report(tmp_path / "a")
    assert record["body_in_slices"] < 0.5 and "enlarge --size" in record["warnings"][0]
    cut, record = report(tmp_path / "b", crop_to_body=True)
    assert record["body_in_slices"] == 1 and record["warnings"] == []
    np.testing.assert_array_equal(from_slices(cut.load("mask"), cut.grid, fill=0).array, body)
    with pytest.raises(InputError, match="give --size too"):
        prepare([case], tmp_path / "c", source="s", split={"train": "p"}, crop_to_body=True)


BAD_SIZES = [("size", (0, 4)), *(("spacing", v) for v in ((1, -1), (1,), (inf, 1), (1, nan)))]


def test_existing_output_no_patients_and_bad_sizes_are_refused(cohort, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="data exists"):
        prepared_of(cohort, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    with pytest.raises(InputError, match="no patients"):
        prepare([], tmp_path / "new", source="pairs", split={})
    for name, values in BAD_SIZES:
        with pytest.raises(InputError, match="two finite numbers above 0"):
            prepared_of(cohort, tmp_path / "new", **{name: values})


def test_a_patient_in_two_splits_is_refused_when_written(cohort, tmp_path):
    cases = find_cases("synthrad2023", cohort, Patterns())
    names = tuple(case.id for case in cases)
    with pytest.raises(InputError, match="1PA004 is in train and in test"):
        prepare(cases, tmp_path / "x", source="s", split={"train": names, "test": names[4:]})


def rewrite(change):
    def damage(folder):
        index = json.loads((folder / "dataset.json").read_text())
        change(index)
        (folder / "dataset.json").write_text(json.dumps(index))

    return damage


DAMAGED = {
    "no index": (lambda f: (f / "dataset.json").unlink(), r"run launch/prepare\.py"),
    "half an index": (lambda f: (f / "dataset.json").write_text('{"version'), "is damaged"),
    "no JSON object": (lambda f: (f / "dataset.json").write_text("3"), "is damaged"),
    "version": (
        rewrite(lambda i: i.update(version=9)),
        "has version 9, but this program reads version 2",
    ),
    "two splits": (
        rewrite(lambda i: i["split"]["test"].append(i["split"]["train"][0])),
        "is in train and in test",
    ),
    "stranger": (rewrite(lambda i: i["split"]["test"].append("x")), "patient x, who is not"),
    "no cases": (rewrite(lambda i: i.update(cases={})), "holds no cases"),
    "no grid": (rewrite(lambda i: i["cases"]["1PA000"].pop("grid")), "is damaged"),
    "other size": (rewrite(lambda i: i.update(size=[5, 5])), "slices of another size"),
    "no array": (lambda f: (f / "cases/1PA001/ct.npy").unlink(), r"ct\.npy is missing or damaged"),
    "half an array": (
        lambda f: (f / "cases/1PA001/mr.npy").write_bytes(b"\x93NUMPY"),
        r"mr\.npy is missing or damaged",
    ),
    "truncated": (
        lambda f: (f / "cases/1PA001/mr.npy").write_bytes(
            (f / "cases/1PA001/mr.npy").read_bytes()[:-4]
        ),
        r"mr\.npy is missing or damaged",
    ),
    "other type": (
        lambda f: np.save(f / "cases/1PA001/ct.npy", np.zeros((7, 18, 20))),
        r"ct\.npy holds float64",
    ),
    "pickle": (
        lambda f: np.save(f / "cases/1PA001/ct.npy", np.array([{}], object)),
        r"ct\.npy is missing or damaged",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_prepared_data_is_refused(cohort, tmp_path, case):
    damage, sentence = DAMAGED[case]
    prepared_of(cohort, tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(InputError, match=sentence):
        read_prepared(tmp_path / "data")


def test_the_real_head_pair(head_pair, tmp_path):
    case = Case("head", head_pair / "mr_T2.nii.gz", head_pair / "ct_in_T2.nii.gz", None)
    data = prepare([case], tmp_path / "d", source="pairs", split=split_patients(["head"]))
    mr, ct, mask = (data.cases["head"].load(kind) for kind in ("mr", "ct", "mask"))
    assert mr.shape == ct.shape == mask.shape == (22, 190, 166)
    assert ct.min() == -1024 and ct.max() == 2851  # as in the file
    assert 0.68 < mask.mean() < 0.74  # the head fills 70.4 % of the CT
    inside = ct[mask > 0]
    assert -50 < np.median(inside) < 80  # brain
