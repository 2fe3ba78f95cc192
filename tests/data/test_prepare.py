"""Patients' files -> prepared data, and prepared data that is damaged."""

import hashlib
import json

import numpy as np
import pytest
from scipy import ndimage

from sde_ct.data.cohorts import Case, Patterns, find_cases
from sde_ct.data.files import read_volume
from sde_ct.data.grid import from_slices
from sde_ct.data.inputs import cut_mr
from sde_ct.data.prepare import prepare
from sde_ct.data.prepared import read_prepared
from sde_ct.data.split import split_patients
from sde_ct.errors import InputError

from .conftest import AFFINE, SHAPE, patient, save


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
            slices, native = case.load(kind), read_volume(case.files[kind], unit)
            assert slices.dtype == {"mr": "f4", "ct": "i2", "mask": "u1"}[kind]
            back = from_slices(slices, case.grid, unit=unit)
            np.testing.assert_array_equal(back.array, native.array)
            np.testing.assert_array_equal(back.affine, native.affine)


def test_the_index_tells_where_everything_came_from(cohort, tmp_path):
    data = prepared_of(cohort, tmp_path / "data", spacing=(2.4, 2.4), size=(8, 8))
    index = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert (index["version"], index["source"]) == (1, "synthrad2023")
    assert (index["spacing"], index["size"]) == ([2.4, 2.4], [8, 8])
    assert {k: tuple(v) for k, v in index["split"].items()} == data.split
    record = index["cases"]["1PA003"]
    for kind in ("mr", "ct", "mask"):
        content = (cohort / "Task1/pelvis/1PA003" / f"{kind}.nii.gz").read_bytes()
        assert record["sha256"][kind] == hashlib.sha256(content).hexdigest()
    files = patient(seed=3)
    expected = np.percentile(files["mr"][files["mask"] > 0], 99.5)
    np.testing.assert_allclose(record["mr_percentiles"]["99.5"], expected)
    assert record["mask"] == "given" and record["voxel_mm"] == pytest.approx([1.2, 1.2, 3.0])


def test_preparation_and_synthesis_cut_the_mr_alike(cohort, tmp_path):
    data = prepared_of(cohort, tmp_path / "data", spacing=(1.7, 1.5))
    case = data.cases["1PA001"]
    cut = cut_mr(
        read_volume(case.files["mr"], "a.u."),
        read_volume(case.files["mask"], "mask"),
        spacing=data.spacing,
    )
    np.testing.assert_array_equal(cut.mr, case.load("mr"))
    np.testing.assert_array_equal(cut.mask, case.load("mask"))
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
    assert case.load("ct").min() == -1024 and case.files["mask"] is None
    assert (data.split["validation"], data.split["test"]) == ((), ())
    mask = case.load("mask")
    truth = np.pad(files["mask"].transpose(2, 1, 0)[:, ::-1, ::-1], ((0, 0), (3, 3), (2, 2)))
    assert mask.shape == truth.shape == (7, 24, 24)
    # The outline holds the body and at most one voxel around it; the padding is no body.
    around = ndimage.binary_dilation(truth[0], np.ones((3, 3)))
    assert (mask >= truth).all() and (mask[:, 3:-3, 2:-2] <= around[3:-3, 2:-2]).all()


def other_grid(path):
    affine = AFFINE.copy()
    affine[2, 3] += 1.0
    save(path, patient()["ct"], affine)


BAD = {
    "shape": (
        lambda p: save(p / "ct.nii.gz", patient((20, 18, 8))["ct"]),
        r"ct\.nii\.gz and .*mr\.nii\.gz lie on different grids \(shape \(20, 18, 8\) against",
    ),
    "geometry": (lambda p: other_grid(p / "ct.nii.gz"), "affines that differ by up to 1"),
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
    "sizes": (
        lambda p: [save(p / f"{k}.nii.gz", v) for k, v in patient((22, 18, 7)).items()],
        r"slices of 1PA000 are \(18, 20\), of 1PA002 \(18, 22\) pixels: give one --size",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_patient_stops_everything_and_leaves_nothing(cohort, tmp_path, case):
    damage, sentence = BAD[case]
    damage(cohort / "Task1" / "pelvis" / "1PA002")
    with pytest.raises(InputError, match=sentence):
        prepared_of(cohort, tmp_path / "out" / "data")
    assert not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("out/.*"))


def test_existing_output_no_patients_and_bad_sizes_are_refused(cohort, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="data exists"):
        prepared_of(cohort, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    with pytest.raises(InputError, match="no patients"):
        prepare([], tmp_path / "new", source="pairs", split={})
    for options in ({"size": (0, 4)}, {"spacing": (1.0, -1.0)}, {"spacing": (1.0,)}):
        with pytest.raises(InputError, match="two numbers above 0"):
            prepared_of(cohort, tmp_path / "new", **options)


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
    "version": (rewrite(lambda i: i.update(version=9)), "is of version 9, not 1"),
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
