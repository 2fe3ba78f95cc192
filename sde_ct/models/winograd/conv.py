"""The kernels as a differentiable function."""

import contextlib
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.models.winograd.compilation import ready

PIXELS = 144  # in smaller images, transforming the kernel takes longer than it saves
LANES = 16  # the kernels process channels in groups of this size, or a half or quarter of it

_direct = jax.make_user_context(False)


def direct() -> contextlib.AbstractContextManager:
    """A context in which functions are traced with XLA's convolutions, to compare or to count."""
    return _direct(True)


def applies(x: Array, kernel: Array, grow: bool = False) -> bool:
    """Whether `convolve` can and should be used for these arguments.

    The pixels of one image are counted and not those of the batch, so that the result of a slice
    does not depend on its batch.
    """
    h, w, in_channels = x.shape[1:]
    return (
        kernel.shape[:2] == (3, 3)
        and in_channels % LANES == 0
        and kernel.shape[3] % LANES == 0
        and h * w * (4 if grow else 1) >= PIXELS
        and x.dtype == kernel.dtype == jnp.float32
        and not _direct.value
        and jax.default_backend() == "cpu"
        and ready()
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c d"], grow: bool = False
) -> Float[Array, "b i j d"]:
    """Convolution of stride 1 with zero padding; `grow` repeats each pixel of `x` 2 x 2 first."""
    b, h, w, _ = x.shape
    scale = 2 if grow else 1
    shape = (b, scale * h, scale * w, kernel.shape[3])
    return _call("sde_ct_convolve", shape)(x, kernel, transposed=False, grow=grow, shrink=False)


def _forward(x: Array, kernel: Array, grow: bool) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel, grow), (x, kernel)


def _backward(grow: bool, kept: tuple[Array, Array], dy: Array) -> tuple[Array, Array]:
    x, kernel = kept
    dx = _call("sde_ct_convolve", x.shape)(dy, kernel, transposed=True, grow=False, shrink=grow)
    return dx, _call("sde_ct_kernel_gradient", kernel.shape)(x, dy, grow=grow)


convolve.defvjp(_forward, _backward)


def _call(target: str, shape: tuple[int, ...]):
    if not ready():
        raise RuntimeError("The convolution kernels could not be built on this machine")
    result = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.ffi.ffi_call(target, result, vmap_method="sequential")
