"""Synthetic CT from MR by conditional diffusion and score models, with its uncertainty."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sde_ct.sde import VESDE, VPSDE

__all__ = ["VESDE", "VPSDE"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the SDEs, and JAX with them, when first used: a program's --help needs neither."""
    if name in __all__:
        from sde_ct import sde

        return getattr(sde, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
