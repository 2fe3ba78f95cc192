"""The floating-point operations of a program, as XLA counts them."""

from typing import Any

from sde_ct.models import winograd


def lowered(function: Any, *arguments: Any) -> Any:
    """The program of a jitted function, with convolutions whose operations XLA can count."""
    with winograd.direct():
        return function.lower(*arguments)


def flops(program: Any) -> float:
    """The floating-point operations of a program, lowered or compiled."""
    cost = program.cost_analysis()
    return float((cost[0] if isinstance(cost, list) else cost)["flops"])
