"""Random numbers do not depend on the generator that JAX is set to."""

import os
import subprocess
import sys

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from sde_ct import VPSDE
from sde_ct.sampling import euler_maruyama
from sde_ct.sampling.keys import sample_keys, slice_keys
from sde_ct.training.state import example_keys

def draw(keys, count):
    run = lambda keys: euler_maruyama(keys, VPSDE(), lambda x, t: -x, (count, 5), steps=3).x
    return jax.jit(run)(keys)

own = slice_keys(3, 1, jnp.arange(4), jnp.zeros(4, int))
theirs = sample_keys(jax.random.key(3), 4)  # a key of the generator that JAX is set to
raw = sample_keys(jax.random.PRNGKey(3), 4)
for keys in (own, theirs, raw):
    np.testing.assert_allclose(draw(keys, 4)[2:3], draw(keys[2:3], 1), atol=1e-6)
print(np.asarray(draw(own, 4))[0], jax.random.key_data(example_keys(0, 5, 2)).tolist())
"""


def test_a_sample_alone_is_the_sample_in_a_batch_under_any_generator():
    """Under `rbg` a sample's numbers depend on its place in a batch, unless keys are Threefry's."""
    printed = []
    for generator in ("threefry2x32", "rbg"):
        environment = os.environ | {"JAX_DEFAULT_PRNG_IMPL": generator, "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]
