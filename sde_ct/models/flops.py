"""The floating-point operations of a compiled or traced program, as XLA counts them."""

from typing import Any

from sde_ct.models import winograd


def lowered(function: Any, *arguments: Any) -> Any:
    """A jitted function's program, in which each convolution is the products of its taps."""
    with winograd.direct():
        return function.lower(*arguments)


def flops(program: Any) -> float:
    """What XLA counts in a program, lowered or compiled."""
    cost = program.cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost)["flops"])
