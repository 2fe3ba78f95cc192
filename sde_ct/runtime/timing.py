"""Fair timings: whole calls, contenders in turn, and medians."""

import time
from collections.abc import Callable, Mapping

import numpy as np

LOOP = 8  # steps of the timed DDPM loop, each with one evaluation


def race(contenders: Mapping[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of a call of each contender, until its result is ready.

    Every contender is called once to compile, and then all are called in turn. A machine that slows
    down for a while then slows down all of them, and their ratios remain valid.
    """
    import jax  # not above, because PyTorch's process reads `LOOP` and needs no JAX

    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        jax.block_until_ready(call())
    for _ in range(repeats):
        for name, call in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}
