"""`--help` of every program answers without the imports that take seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "launch").rglob("*.py"))
HEAVY = {"jax", "flax", "grain", "SimpleITK", "skimage", "scipy", "matplotlib", "nibabel"}
PROGRAM = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("imported:", *sorted({name.split(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_needs_no_heavy_import(script):
    """A package that is imported at all is loaded whole, whatever the machine's speed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(script)], cwd=ROOT, capture_output=True, text=True
    )
    usage, _, imported = done.stdout.partition("imported: ")
    assert "flags:" in usage and "absl" in imported.split(), done.stderr
    assert not HEAVY & set(imported.split())
