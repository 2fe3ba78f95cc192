"""Compiles the kernels of this folder for the processor at hand, when they are first used."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax
import jaxlib
from absl import logging

from sde_ct.runtime import cache

TARGETS = {"sde_ct_convolve": "Convolve", "sde_ct_kernel_gradient": "KernelGradient"}
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC")
_HERE = Path(__file__).parent
_SECONDS = 300  # a compiler that takes longer is assumed to hang


@functools.cache
def ready() -> bool:
    """Whether the kernels can be called. The first call builds them and registers them with JAX."""
    if os.environ.get("SDE_CT_WINOGRAD") == "0":
        return False
    reason = "No C++ compiler ($CXX, g++, clang++ or c++) was found"
    if compiler := _compiler():
        try:
            register(build(cache.folder("winograd"), compiler))
            return True
        except (OSError, subprocess.SubprocessError, AttributeError) as error:
            output = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            why = output[0] if output else type(error).__name__
            reason = f"The convolution kernels could not be built by {compiler} ({why})"
    logging.warning("%s: 3 x 3 convolutions are XLA's own and take about twice as long", reason)
    return False


def build(folder: Path, compiler: str, machine: str = "native") -> Path:
    """The path of the shared library in `folder`, compiled unless it exists and is complete.

    Its name contains a digest of sources, compiler, JAX version and processor, because different
    machines may share a home folder. It also contains a digest of the library itself, because
    loading a truncated library kills the process. `machine` is the value of -march.
    Raises OSError or subprocess.SubprocessError.
    """
    command = [compiler, *FLAGS, f"-march={machine}", "-isystem", jax.ffi.include_dir()]
    parts = [*command, jaxlib.__version__, _processor()]
    sources = [path.read_text("utf-8") for path in sorted(_HERE.glob("*.[ch]*"))]
    name = f"kernels-{_digest(chr(0).join(parts + sources).encode())}"
    for found in folder.glob(f"{name}-*.so"):
        if found.stem == f"{name}-{_digest(found.read_bytes())}":
            return found
        found.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    # Compiled under a temporary name, because another process may compile the same library, and
    # this one may be killed.
    handle, part = tempfile.mkstemp(suffix=".part", dir=folder)
    os.close(handle)
    try:
        subprocess.run(
            [*command, str(_HERE / "kernels.cc"), "-o", part],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        return Path(part).replace(folder / f"{name}-{_digest(Path(part).read_bytes())}.so")
    finally:
        Path(part).unlink(missing_ok=True)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def register(library: Path, prefix: str = "") -> None:
    """Load the kernels and register them with JAX under names that start with `prefix`."""
    kernels = ctypes.CDLL(str(library))
    for target, symbol in TARGETS.items():
        handler = jax.ffi.pycapsule(getattr(kernels, symbol))
        jax.ffi.register_ffi_target(prefix + target, handler, platform="cpu")


def _compiler() -> str | None:
    names = (os.environ.get("CXX"), "g++", "clang++", "c++")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _processor() -> str:
    """A text that differs between processor models."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("flags", "features", "model name", "cpu part")
    return "\n".join(sorted({line for line in lines if line.lower().startswith(kinds)}))
