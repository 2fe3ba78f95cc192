"""One table of formats: a row and a reader let every program read a new format."""

import ast

import numpy as np
import pytest

from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.errors import InputError
from sde_ct.evaluation.matching import match_cases
from sde_ct.synthesis.sources import find_sources
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.formats import FORMATS, Format, format_of, image_stem
from sde_ct.volumes.volume import Volume, left_posterior_superior

from ..programs import ROOT

AFFINE = np.array([[2.0, 0, 0, -40], [0, 2.5, 0, 30], [0, 0, 3, 7], [0, 0, 0, 1]])
HU = np.rint(np.random.default_rng(0).normal(0, 400, (8, 7, 5)))


def read_text(path):
    return np.loadtxt(path).reshape(HU.shape), AFFINE


def write_text(path, array, affine):
    np.savetxt(path, array.ravel())


@pytest.fixture
def text_format(monkeypatch):
    monkeypatch.setitem(FORMATS, "Text", Format((".voxels",), read_text, write_text))


def test_a_row_of_the_table_is_all_that_a_format_needs(text_format, tmp_path):
    """It is read, written, found by synthesis, preparation and evaluation, and named."""
    volume = Volume(HU, AFFINE, "HU")
    for name in ("mr", "ct"):
        write_volume(tmp_path / "p1" / f"{name}.voxels", volume)
    np.testing.assert_array_equal(read_volume(tmp_path / "p1" / "ct.voxels", "HU").array, HU)
    assert format_of(tmp_path / "p1" / "ct.voxels") == "Text"
    assert [source.name for source in find_sources([str(tmp_path / "p1")])] == ["p1"]
    (case,) = find_cases("pairs", tmp_path, Patterns())
    np.testing.assert_array_equal(case.read().mr.array, HU)
    write_volume(tmp_path / "sct" / "p1.voxels", volume)
    (files,) = match_cases(tmp_path / "sct", tmp_path).cases
    assert files.reference == tmp_path / "p1" / "ct.voxels"


def test_no_other_module_lists_suffixes():
    """A tuple, list or set of two or more suffixes of the table, anywhere else in the package."""
    suffixes = {s for row in FORMATS.values() for s in row.suffixes}
    readers = {ROOT / "sde_ct/volumes/formats.py", ROOT / "sde_ct/volumes/dicom/slice.py"}
    for path in {*(ROOT / "sde_ct").rglob("*.py"), *(ROOT / "launch").rglob("*.py")} - readers:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                listed = {e.value for e in node.elts if isinstance(e, ast.Constant)}
                assert len(listed & suffixes) < 2, f"{path}:{node.lineno}"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha"])
def test_what_is_written_is_read_in_its_place(tmp_path, suffix):
    volume = left_posterior_superior(Volume(HU, AFFINE, "HU"))
    path = write_volume(tmp_path / f"ct{suffix}", volume)
    back = read_volume(path, "HU")
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)  # float32 in NIfTI


def test_a_header_apart_from_its_voxels_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"use a name that ends in \.mha"):
        write_volume(tmp_path / "ct.mhd", Volume(HU, AFFINE, "HU"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.b.NII.gz", "a.b"), ("mr.mha", "mr"), ("x.dcm", None), ("notes.txt", None)],
)
def test_a_stem_is_the_name_without_the_suffix_of_an_image(tmp_path, name, stem):
    assert image_stem(tmp_path / name) == stem
