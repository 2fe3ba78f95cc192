"""Placing trees on devices, finding replicas that drifted apart, settings of a program."""

import os
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.runtime import cache, parallel

from ..programs import ROOT

CACHE = "JAX_COMPILATION_CACHE_DIR"


def test_shard_gives_each_device_its_own_rows():
    rows = np.arange(24).reshape(8, 3)
    sharded = parallel.shard({"a": rows}, 4)["a"]
    assert sharded.shape == (4, 2, 3)
    np.testing.assert_array_equal(sharded.reshape(8, 3), rows)


def test_replicas_agree_compares_bits_and_knows_nan():
    devices = jax.devices()[:4]
    tree = {"a": jnp.array([1.0, jnp.nan]), "key": jax.random.key(0)}
    assert parallel.replicas_agree(parallel.replicate(tree, devices))
    drift = parallel.data_parallel(
        lambda state, key, x: (state + jax.lax.axis_index(parallel.AXIS) * 1e-7, {}), devices
    )
    state, _ = drift(jnp.ones(3), jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    assert not parallel.replicas_agree({"a": state})


@pytest.mark.parametrize(("batch", "count"), [(8, 4), (6, 2), (3, 1)])
def test_cores_are_used_as_far_as_they_divide_the_batch(batch, count):
    assert len(jax.local_devices()) == 4
    assert parallel.devices_for(batch) == jax.local_devices()[:count]


def test_a_program_takes_the_devices_it_is_given_and_clears_its_cache(tmp_path):
    cache = tmp_path / "sde_ct" / "xla"
    cache.mkdir(parents=True)
    program = zlib.compress(np.random.default_rng(0).bytes(100_000))
    (cache / "jit_f-1-cache").touch()  # the write of these two was killed
    (cache / "jit_g-2-cache").write_bytes(program[:-1000])
    (cache / "jit_h-3-cache").write_bytes(program)
    (cache / "jit_i-4-cache").write_bytes(b"of another format")
    program = (
        "from sde_ct.runtime import parallel; parallel.set_up(); "
        "import jax; print(jax.device_count())"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", CACHE)}
    settings = {"JAX_NUM_CPU_DEVICES": "3", "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept | settings, capture_output=True, text=True
    )
    assert done.stdout == "3\n", done.stderr
    left = {path.name for path in cache.glob("*-cache")}
    assert left == {"jit_h-3-cache", "jit_i-4-cache"}


def test_a_program_that_was_checked_is_not_read_again(tmp_path, monkeypatch):
    old = tmp_path / "jit_f-1-cache"
    old.write_bytes(zlib.compress(b"program"))
    os.utime(old, (0, 0))
    cache.remove_truncated(tmp_path)
    (tmp_path / "jit_g-2-cache").write_bytes(zlib.compress(b"program")[:-1])
    read = []
    monkeypatch.setattr(cache, "_is_whole", lambda content: read.append(content))
    cache.remove_truncated(tmp_path)
    assert len(read) == 1 and [path.name for path in tmp_path.glob("*-cache")] == [old.name]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a switch of glibc")
def test_memory_once_used_is_not_cleared_again():
    """Of 200 MB, in a program of its own: 50,000 pages at first, then none to speak of."""
    program = (
        "import resource, numpy as np\n"
        "from sde_ct.runtime import parallel; parallel.set_up()\n"
        "def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(3): before = faults(); np.ones(25_000_000); print(faults() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
    )
    counts = [int(line) for line in done.stdout.split()]
    assert len(counts) == 3, done.stderr
    assert max(counts[1:]) < 1000


def test_shared_out_replicates_the_first_and_splits_the_rest():
    double = parallel.shared_out(lambda shared, x, y: shared * x + y, jax.devices()[:4])
    x = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(double(jnp.float32(2.0), (x, x)), 3 * x)


def test_a_process_alone_has_the_whole_batch_and_all_devices():
    assert parallel.share(6) == range(6)
    assert parallel.local(jax.devices()) == jax.local_devices()
