#!/usr/bin/env bash
# jax.numpy.histogram counts in float32 and adds 1 at a time, so that a bin stops at 2**24 = 16,777,216 counts
# without a warning. A CT of 512 x 512 x 150 voxels has more than twice as many, most of them in the bin of air.
# jax.numpy.bincount and numpy.histogram count in integers; jax.numpy.sum, in float32 too, adds by parts and is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jax==0.10.2 numpy==2.2.6
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import numpy as np

print(f"JAX {jax.__version__}, numpy {np.__version__}")
hu = np.full(512 * 512 * 150, -1000, np.float32)
hu[: len(hu) // 4] = 40  # a quarter of the voxels is soft tissue
range_ = (-1200, 400)
expected = np.histogram(hu, 2, range_)[0]
counts = jnp.histogram(jnp.asarray(hu), 2, range_)[0]
print(f"Voxels of air and of tissue by numpy: {expected}, by JAX: {np.asarray(counts)} ({counts.dtype}).")
print(f"Share of air: {expected[0] / len(hu):.3f} by numpy, {float(counts[0] / counts.sum()):.3f} by JAX.")
print(f"Ones added by jax.numpy.sum: {float(jnp.ones(len(hu), jnp.float32).sum()):.0f}.")
print("Expected: the same counts, or a warning.")
sys.exit(0 if counts[0] == 2**24 and counts[1] == expected[1] else 1)
PYTHON
