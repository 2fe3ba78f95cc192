import json

import pytest

from sde_ct.storage.whole import whole, write_json


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "table.tar.gz"
    with whole(path) as partial:
        partial.write_text("new")
        assert not path.exists() and partial.suffixes == path.suffixes
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), whole(path) as partial:
        partial.write_text("half of")
        raise OSError("full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_json_is_whole_readable_and_strict(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Müller", "values": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["name"] == "Müller"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert "Müller" in (tmp_path / "a.json").read_text("utf-8")
