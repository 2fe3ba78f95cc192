"""The direction of imports, which keeps each part readable without the others."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# What each part may import of the package besides itself; `errors` is everyone's. It mirrors the
# way through the house: files, slices, method and training, synthesis, comparison.
ALLOWED = {
    "errors": set(),
    "types": set(),
    "frequencies": set(),
    "constraints": set(),
    "config": {"constraints"},
    "config_record": {"config"},
    "runtime": set(),
    "storage": set(),
    "sde": {"types"},
    "sampling": {"types", "sde", "frequencies"},
    "models": {"runtime"},
    "volumes": {"storage"},
    "data": {"storage", "volumes", "frequencies"},
    "methods": {"types", "config", "sde", "sampling", "models", "frequencies"},
    "training": {
        *("types", "config", "runtime", "storage", "volumes", "data", "sampling", "models"),
        *("methods", "config_record"),
    },
    "uncertainty": {"storage", "volumes"},
    "acceptance": {"storage", "volumes", "data", "uncertainty"},
    "synthesis": {
        *("config", "runtime", "storage", "volumes", "data", "sampling", "methods", "training"),
        *("types", "uncertainty", "acceptance", "config_record"),
    },
    "evaluation": {"storage", "volumes", "uncertainty"},
    "report": {"storage", "volumes", "uncertainty", "acceptance", "evaluation"},
    "doctor": {
        *("config", "runtime", "storage", "volumes", "data", "sampling", "models", "methods"),
        *("training", "uncertainty", "acceptance", "synthesis"),
    },
    "lab": {
        *("types", "config", "runtime", "storage", "volumes", "data", "sampling", "models"),
        *("methods", "training", "uncertainty", "acceptance", "synthesis"),
        *("evaluation", "report"),
    },
}
NUMPY = ("volumes", "data", "uncertainty", "acceptance", "evaluation")
# Libraries that a part must do without.
WITHOUT = {
    "types": {"flax"},
    "frequencies": {"jax", "flax"},
    "constraints": {"jax", "flax"},
    "config": {"jax", "flax"},
    "config_record": {"jax", "flax"},
    "sde": {"flax"},
    "sampling": {"flax"},
    "models": {"diffrax", "optax"},
    "storage": {"jax", "jaxlib", "flax", "optax", "diffrax"},
    "volumes": {"jax", "jaxlib", "flax", "optax", "diffrax"},
    "data": {"jax", "jaxlib", "flax", "optax", "diffrax"},
    "acceptance": {"jax", "jaxlib", "flax", "optax", "diffrax"},
    "uncertainty": {"jax", "jaxlib", "flax", "optax", "diffrax"},
    "evaluation": {"jax", "jaxlib", "flax", "optax", "diffrax"},
}


def modules() -> dict[str, set[str]]:
    """Every module of the package and the full names that it imports."""
    found = {}
    for path in sorted((ROOT / "sde_ct").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: write imports in full"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[name] = names
    return found


MODULES = modules()


def part(name: str) -> str | None:
    """`sde_ct.volumes.files.read_volume` -> volumes; None for what is not of the package."""
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "sde_ct" and len(pieces) > 1 else None


@pytest.mark.parametrize("name", sorted({part(m) for m in MODULES} - {None}))
def test_a_part_imports_only_what_lies_before_it(name):
    for module, imports in MODULES.items():
        if part(module) != name:
            continue
        inner = {part(i) for i in imports} - {None, name, "errors"}
        # The package's own names, as `from sde_ct import VESDE`, stand for their part.
        assert inner <= ALLOWED[name], f"{module} imports {sorted(inner - ALLOWED[name])}"
        outer = {i.split(".")[0] for i in imports}
        assert not outer & WITHOUT.get(name, set()), module
        assert not outer & {"launch", "configs", "tests"}, module


def test_no_two_modules_import_each_other():
    def owner(name: str) -> str | None:
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        return name or None

    graph = {m: {owner(i) for i in imports} - {None, m} for m, imports in MODULES.items()}
    for importers in graph.values():
        importers.discard("sde_ct")  # loaded before any part of it
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_reading_files_and_scoring_start_no_device():
    """Also what the libraries behind them import must not: a GPU would be taken by a table."""
    names = [m for m in MODULES if part(m) in NUMPY]
    assert len(names) > 20
    program = f"import sys, {', '.join(names)}\n" + (
        "bridge = sys.modules.get('jax._src.xla_bridge')\n"
        "assert bridge is None or not bridge.backends_are_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_histograms_are_not_counted_by_jax():
    """jax.numpy's counts are float32 and stop at 2**24, which the air of one CT exceeds."""
    for path in (ROOT / "sde_ct").rglob("*.py"):
        names = re.findall(r"([\w.]+)\.histogram\w*\(", path.read_text())
        assert set(names) <= {"np"}, f"{path} counts by {names}: take numpy's"


def test_every_file_can_be_read_in_one_sitting():
    """250 lines at most, as a reader keeps a file in mind no longer than that."""
    files = [path for room in ("sde_ct", "launch", "configs") for path in (ROOT / room).rglob("*")]
    texts = [path for path in files if path.suffix in (".py", ".js", ".html", ".css", ".h", ".cc")]
    assert len(texts) > 200  # the rooms were found
    long = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in texts
    }
    assert {name: lines for name, lines in long.items() if lines > 250} == {}
