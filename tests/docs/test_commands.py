"""Every command, path, flag, field and link in README.md and docs/ is one that exists.

Python blocks are executed. Shell commands are parsed by the flags of the program that they call,
overrides of a recipe included, but not run: training takes minutes.
"""

import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from absl import flags
from ml_collections.config_flags import get_config_filename

from sde_ct.config import Experiment
from sde_ct.config_record import flatten
from sde_ct.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CLUSTER = {"train.sbatch", "node.sh", "tpu_vm.sh", "xpk.sh"}  # take the flags of train.py


def blocks(language: str) -> list[tuple[str, str]]:
    return [(page, b) for page, text in TEXTS.items() for kind, b in FENCE.findall(text)
            if kind == language]  # fmt: skip


def inline(text: str) -> list[str]:
    """The `code` of a page outside its fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every shell command, in blocks and in the text."""
    for page, block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield page, words
    starts = ("python ", "pip ", "make ", "pytest ", "docker ", "bash ", "sbatch ")
    for page, text in TEXTS.items():
        for code in inline(text):
            if code.startswith(starts):
                yield page, shlex.split(code)


@contextmanager
def program_flags(script: Path, argv: list[str]) -> Iterator[flags.FlagValues]:
    """The flags that a program defines; the program itself is not run."""
    before, previous = set(flags.FLAGS), sys.argv
    sys.argv = [str(script), *argv]  # config_flags looks for the overrides of a recipe here
    try:
        runpy.run_path(str(script), run_name="flags_only")
        yield flags.FLAGS
    finally:
        sys.argv = previous
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def check(words: list[str]) -> None:
    """Raise where a command names a program, file, flag, recipe or field that does not exist."""
    program, *rest = words
    if program == "python":
        script = ROOT / rest[0]
        assert script.is_file(), f"{rest[0]} does not exist"
        with program_flags(script, rest[1:]) as known:
            known([str(script), *rest[1:]])
            assert "config" not in known or (ROOT / get_config_filename(known["config"])).is_file()
    elif program in ("bash", "sbatch"):
        assert (ROOT / rest[0]).is_file(), f"{rest[0]} does not exist"
        assert Path(rest[0]).name in CLUSTER
        check(["python", "launch/train.py", *rest[1:]])
    elif program == "docker":
        for argument in re.findall(r"EXTRA=(\w+)", " ".join(rest)):
            assert argument in EXTRAS
        if "python" in rest:
            check(rest[rest.index("python") :])
    elif program == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rest[0] in targets
    elif program == "pip":
        extra = re.fullmatch(r"install \.(?:\[(\w+)\])?", " ".join(rest))
        assert extra and (extra[1] is None or extra[1] in EXTRAS)
    elif program == "pytest":
        assert all((ROOT / w).exists() for w in rest if w.startswith("tests/"))
    else:
        known = "python3 -m venv .venv", ". .venv/bin/activate"
        assert " ".join(words) in known, f"unknown program {program}"


@pytest.mark.parametrize("page", TEXTS)
def test_commands_name_what_exists(page):
    for where, words in commands():
        if where == page:
            try:
                check(words)
            except (flags.Error, AttributeError, KeyError, SystemExit) as error:
                pytest.fail(f"{page}: {shlex.join(words)}: {error}")


@pytest.mark.parametrize("wrong", [
    "python launch/train.py --config=configs/demo/cnn.py --data=a --workdir=b --nothing=1",
    "python launch/train.py --config=configs/demo/none.py --data=a --workdir=b",
    "python launch/train.py --config=configs/demo/cnn.py --data=a --workdir=b --config.sde.sigma=2",
    "python launch/nothing.py", "make nothing", "pip install '.[nothing]'",
    "bash launch/cluster/train.sbatch --nothing", "pytest tests/nothing.py",
])  # fmt: skip
def test_a_wrong_command_is_detected(wrong):
    with pytest.raises((flags.Error, AttributeError, KeyError, AssertionError, OSError)):
        check(shlex.split(wrong))


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda value: value[:20])
def test_python_blocks_run(page, code):
    exec(compile(code, page, "exec"), {})


def test_the_source_of_the_guide_leaves_no_patient_out_unsaid(tmp_path):
    (code,) = [code for page, code in blocks("python") if "def find(folder" in code]
    for name in ("P1_mr", "P1_ct", "P2_mr", "P3_ct", "P4_mask"):
        (tmp_path / f"{name}.nii.gz").touch()
    found: dict = {}
    exec(compile(code, "extending.md", "exec"), found)
    whole, *others = found["find"](tmp_path)
    assert (whole.id, *(other.id for other in others)) == ("P1", "P2", "P3")
    for other, kind in zip(others, ("CT", "MR"), strict=True):
        with pytest.raises(InputError, match=f"has no {kind}"):
            other.read()


def test_flags_fields_and_paths_in_the_text_exist():
    known, fields = set(), set(flatten(Experiment()))
    scripts = [*(ROOT / "launch").glob("*.py"), ROOT / "launch/cluster/check.py"]
    for script in scripts:
        with program_flags(script, []) as defined:
            known |= set(defined)
    for page, text in TEXTS.items():
        for code in inline(text):
            for flag in re.findall(r"(?:^| )--([a-z][\w-]*)(?:=|$| )", code):
                name = flag.removeprefix("no") if flag not in known else flag
                assert name in known or flag.startswith("logdir"), f"{page}: --{flag}"
            for field in re.findall(r"(?:^|--)config\.([\w.]+)", code):
                assert field in fields, f"{page}: config.{field}"
            if path := re.match(r"(?:launch|configs|sde_ct|tests)/[\w./-]*", code):
                named = Path(path[0])  # NAME stands for any name: its folder must exist
                there = named.parent if named.stem == "NAME" else named
                assert (ROOT / there).exists(), f"{page}: {path[0]}"


def slug(heading: str) -> str:
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", TEXTS[page])):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.is_file(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", there.read_text("utf-8")), re.M)
            assert anchor in map(slug, headings), f"{page}: {target}"


def test_every_page_and_picture_is_used():
    site = (ROOT / "mkdocs.yml").read_text()
    for page in TEXTS:
        assert page == "README.md" or f": {Path(page).name}\n" in site
    for picture in (ROOT / "docs").glob("*.png"):
        assert any(picture.name in text for text in TEXTS.values()), picture.name


def test_the_readme_is_short():
    """A reader decides on one screen or two; details belong to docs/."""
    assert len(TEXTS["README.md"].encode()) <= 7000
