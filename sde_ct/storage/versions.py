"""The versions of Python and of the packages that a result depends on."""

import platform
from importlib import metadata

PACKAGES = (
    *("sde-ct", "jax", "flax", "optax", "orbax-checkpoint", "diffrax"),
    *("numpy", "scipy", "nibabel", "pydicom", "SimpleITK"),
)


def versions() -> dict[str, str]:
    """Versions such as {"python": "3.13.1", "jax": "0.12.0", …} for the records of results."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
