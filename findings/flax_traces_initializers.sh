#!/usr/bin/env bash
# A flax.linen module runs the initializer of each parameter again, abstractly, whenever it is applied to existing
# parameters, in order to compare shapes. Nothing of it reaches the compiled program, but the random numbers of an
# initializer take longer to trace than the layer, so that half or more of the time before compilation is spent on
# values that are never used. A module whose `param` returns existing values gives the same program without it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check flax==0.12.0 jax==0.7.2 numpy==2.2.6
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import statistics
import sys
import time

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

print(f"Flax {flax.__version__}, JAX {jax.__version__}")
calls = 0


def initializer(*arguments):
    global calls
    calls += 1
    return nn.initializers.lecun_normal()(*arguments)


class Dense(nn.Dense):
    @nn.nowrap
    def param(self, name, *arguments, **options):
        if self.has_variable("params", name):
            return self.get_variable("params", name)
        return super().param(name, *arguments, **options)


def network(layer):
    return nn.Sequential([layer(width, kernel_init=initializer) for width in range(8, 40)])


def traced(module, parameters):
    """The program's text, the calls of the initializer, and the median time to trace it."""
    global calls
    seconds = []
    for _ in range(5):
        jax.clear_caches()
        calls, start = 0, time.perf_counter()
        text = jax.jit(module.apply).lower(parameters, x).as_text()
        seconds.append(time.perf_counter() - start)
    return text, calls, statistics.median(seconds)


x = jnp.zeros((4, 8))
parameters = network(nn.Dense).init(jax.random.key(0), x)
usual, ran, seconds = traced(network(nn.Dense), parameters)
quick, skipped, fewer = traced(network(Dense), parameters)
print(f"Initializers run when 32 layers are applied: {ran}; with the module that returns values: {skipped}.")
print(f"Time until the program is lowered: {seconds / fewer:.1f} times as long. The same program: {usual == quick}.")
print("Expected: existing parameters need no initializer, or only its shape.")
sys.exit(0 if ran == 32 and skipped == 0 and usual == quick else 1)
PYTHON
