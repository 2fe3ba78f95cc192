import json

import pytest

from sde_ct.storage.whole import together, whole, write_json


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "table.tar.gz"
    with whole(path) as partial:
        partial.write_text("new")
        assert not path.exists() and partial.suffixes == path.suffixes
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match=r"full: .*table\.csv"), whole(path) as partial:
        partial.write_text("half of")
        raise OSError("full")  # as NumPy does, without the file's name
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_files_of_one_result_appear_together_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(ValueError, match="no report"), together(folder) as partial:
        (partial / "a.csv").write_text("1")
        raise ValueError("no report")
    assert not folder.exists()
    for name in ("a.csv", "b.csv"):
        with together(folder) as partial:
            (partial / name).write_text(name)
            assert not (folder / name).exists()
    assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "b.csv"]


def test_json_is_whole_readable_and_strict(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Müller", "values": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["name"] == "Müller"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert "Müller" in (tmp_path / "a.json").read_text("utf-8")
