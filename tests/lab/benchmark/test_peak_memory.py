"""The peak memory of training steps."""

import sys

import pytest

from sde_ct.config import NetworkConfig
from sde_ct.lab.benchmark.peak_memory import OURS, peak_memory

NETWORK = NetworkConfig(channels=8, multipliers=(1,), blocks=1, groups=4)


@pytest.mark.slow  # it starts two programs, which compile a training step each
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has the figure")
def test_a_larger_batch_needs_more_memory():
    small, large = (peak_memory(OURS, NETWORK, 64, batch) for batch in (1, 64))
    # JAX alone takes 100 MB. One activation of 64 slices has 64 · 64² · 8 floats: 8 MiB.
    assert 1e8 < small < 1e9 and small + 8 * 2**20 < large < small + 2e9
