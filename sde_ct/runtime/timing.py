"""Honest timings: whole calls, contenders in turn, medians."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

LOOP = 8  # steps of the DDPM loop that is timed: each is one evaluation


def race(contenders: Mapping[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of a call of each contender, until its result is ready.

    Every contender is called once before, to compile, then all in turn: a machine that slows down
    for a while slows down all of them, and their ratios stand.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        jax.block_until_ready(call())
    for _ in range(repeats):
        for name, call in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}
