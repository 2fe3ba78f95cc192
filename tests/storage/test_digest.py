import hashlib

import pytest

from sde_ct.storage import digest


def test_one_file_several_files_and_a_folder(tmp_path):
    """By hashlib's own sums: of a content, of the digests in their order, of names and digests."""
    files = [tmp_path / "b", tmp_path / "sub" / "a"]
    files[1].parent.mkdir()
    for path in files:
        path.write_text(path.name)
    one, other = (hashlib.sha256(name).hexdigest() for name in (b"b", b"a"))
    assert digest.sha256(files[0]) == one
    assert digest.sha256(*files) == hashlib.sha256((one + other).encode()).hexdigest()
    lines = f"{one} b\n{other} sub/a\n"
    assert digest.sha256(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


CHANGES = {
    "changed": (lambda p: p.write_text("other"), "a has changed since it was written"),
    "gone": (lambda p: p.unlink(), "a is missing"),
    "damaged": (lambda p: p.with_name(digest.NAME).write_text("["), "can't be read"),
    "nested": (lambda p: p.with_name(digest.NAME).write_text("[" * 10**6), "can't be read"),
    "a list": (lambda p: p.with_name(digest.NAME).write_text("[1]"), "can't be read"),
    "nothing": (lambda p: p.with_name(digest.NAME).write_text("{}"), "names no file"),
    "added": (lambda p: p.with_name(".DS_Store").write_text(""), None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_since_it_was_written_is_named(tmp_path, name):
    change, sentence = CHANGES[name]
    (tmp_path / "a").write_text("content")
    digest.write(tmp_path)
    assert digest.fault(tmp_path) is None
    change(tmp_path / "a")
    fault = digest.fault(tmp_path)
    assert fault is None if sentence is None else sentence in fault
