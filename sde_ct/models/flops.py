"""The floating-point operations of a compiled or traced program, as XLA counts them."""

import contextlib
from typing import Any

from sde_ct.models import winograd


def countable() -> contextlib.AbstractContextManager:
    """Programs lowered inside have convolutions whose operations XLA counts."""
    return winograd.direct()


def lowered(function: Any, *arguments: Any) -> Any:
    """The program of a jitted function, whose convolutions XLA counts."""
    with countable():
        return function.lower(*arguments)


def flops(program: Any) -> float:
    """What XLA counts in a program, lowered or compiled."""
    cost = program.cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost)["flops"])
