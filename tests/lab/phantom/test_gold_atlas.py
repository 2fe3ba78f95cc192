"""The phantom cohort in Gold Atlas's layout: that a request is answered or refused."""

import pytest

from sde_ct.errors import InputError
from sde_ct.lab.phantom.gold_atlas import write_gold_atlas

from ...programs import call, listing

GRID = {"shape": (16, 16, 4), "spacing": (28.0, 28.0, 12.0)}


@pytest.mark.parametrize("change", [{"seed": 2}, {"shape": (18, 16, 4)}, {"spacing": (27, 27, 12)}])
def test_a_folder_of_another_request_is_refused_and_stays(tmp_path, change):
    write_gold_atlas(tmp_path, 1, patients=("1_01_P",), **GRID)
    before = listing(tmp_path)
    other = {"seed": 1, **GRID, **change}
    with pytest.raises(InputError, match="holds patients of another seed or grid"):
        write_gold_atlas(tmp_path, patients=("1_01_P",), **other)
    assert listing(tmp_path) == before
    write_gold_atlas(tmp_path, 1, patients=("1_01_P", "2_01_P"), **GRID)  # one more
    after = listing(tmp_path)
    assert {name: after[name] for name in before} == before and "2_01_P" in after


def test_from_the_shell(tmp_path):
    usual = ["--layout=gold_atlas", f"--output={tmp_path / 'a'}", "--patients=1"]
    grid = ["--shape=16,16,4", "--spacing=28,28,12"]
    assert "seed must be" not in call("phantom", *usual, *grid).err
    assert "of another seed or grid" in call("phantom", *usual, *grid, "--seed=3").error
    assert "three lengths above 0" in call("phantom", *usual[:1], f"--output={tmp_path / 'b'}",
                                           "--spacing=0,1,1").error  # fmt: skip
    assert not (tmp_path / "b").exists()
