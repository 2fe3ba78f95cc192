"""Four simulated devices on the CPU and fast compilation, set before JAX is imported; and what
several folders of tests share."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sde_ct.runtime import cache  # which does not import JAX, nor does the next
from sde_ct.storage.lock import awaited

# Compiling takes most of a first run. Without LLVM's optimisation it takes a quarter less time, and
# small networks run hardly slower.
_flags = {"xla_force_host_platform_device_count": 4, "xla_backend_optimization_level": 0}
for _name, _value in _flags.items():
    if _name not in (_before := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{_before} --{_name}={_value}".strip()
# Each search for garbage visits the many objects that JAX keeps of its traces.
gc.set_threshold(50_000)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

_cache = cache.folder("jax-tests")
cache.remove_truncated(_cache)
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that use trained networks come first, so that no worker has one alone at the end."""
    long = {item.path for item in items if "runs" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once(name, make)`: a folder that `make` has filled, once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with awaited(shared / f"{name}.lock", lambda holder: None):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def phantoms(once):
    """Five small patients, prepared; the whole session's, so nobody writes to them."""
    from sde_ct.data.prepared import read_prepared

    from . import tiny  # here, because it imports JAX

    return read_prepared(once("phantoms", tiny.prepared_phantoms) / "data")


@pytest.fixture(scope="session")
def runs(phantoms, once) -> Callable[[str], Path]:
    """`runs(method)`: the work directory of `tiny.experiment(method)`, trained once."""
    from . import programs, tiny

    def trained(method: str) -> Path:
        teacher = [f"--teacher={trained('residual')}"] if method in ("distilled", "joint") else []

        def train(workdir: Path) -> None:
            recipe = tiny.write_recipe(tiny.experiment(method), workdir.with_suffix(".py"))
            done = programs.call(
                *("train", f"--config={recipe}", f"--data={phantoms.folder}"),
                *(f"--workdir={workdir}", *teacher),
            )
            assert done.status == 0, done.err

        return once(f"run-{method}", train)

    return trained


@pytest.fixture(scope="session")
def head_pair() -> Path:
    """Real images, which are not part of the project: $SDE_CT_TEST_DATA, or ../shared/data."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SDE_CT_TEST_DATA", beside)) / "head_pair"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set SDE_CT_TEST_DATA to the folder that holds head_pair")
    return folder
