"""Compile what runs long in a test."""

from collections.abc import Callable

import jax


def optimised(function: Callable) -> Callable:
    """`function`, jitted with LLVM's optimisation, which `conftest.py` turns off for other tests.

    For thousands of samples in hundreds of steps it saves more time than it takes.
    """
    return jax.jit(function, compiler_options={"xla_backend_optimization_level": 3})
