import pytest

from sde_ct.storage.whole import whole


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
