"""Layers that change the shape only, and the identity."""

from __future__ import annotations

import math
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, ShapeError
from nnlib.nn.functional.checks import TensorLike, as_tensor, check_axis
from nnlib.nn.module import Module

__all__ = ["Flatten", "Identity", "Unflatten"]


class Identity(Module):
    """Returns its input: the placeholder of an omitted layer.

    Examples
    --------
    >>> Identity()([1.0, 2.0])
    [1.0, 2.0]
    """

    def forward(self, x: TensorLike) -> Any:
        """Return x itself."""
        return x


class Flatten(Module):
    """Join axes to one, by default all but the first.

    The values keep their order: of an image (H, W, C) the pixels row by row with their channels.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of the axes to join.

    Raises
    ------
    ShapeError
        When called, if there are no such axes, or the first comes after the last.

    Examples
    --------
    >>> import nnlib
    >>> Flatten()(nnlib.ones(2, 5, 5, 16)).shape
    (2, 400)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: TensorLike) -> Tensor:
        """(N, ...) → (N, product of the others)."""
        x = as_tensor(x)
        start = check_axis(self.start_dim, x.ndim, "start_dim")
        end = check_axis(self.end_dim, x.ndim, "end_dim")
        if start > end:
            raise ShapeError(
                f"start_dim = {self.start_dim} must not come after end_dim = {self.end_dim}. "
                f"Received: {x.dtype} {x.shape}"
            )
        joined = math.prod(x.shape[start : end + 1])
        return x.reshape(*x.shape[:start], joined, *x.shape[end + 1 :])

    def extra_repr(self) -> str:
        """Return the options."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several: the inverse of `Flatten`.

    Parameters
    ----------
    dim : int
        The axis to split.
    unflattened_size : tuple of int
        Sizes of the new axes; one may be −1.

    Raises
    ------
    ShapeError
        When called, if there is no such axis, or the sizes do not multiply to its own.

    Examples
    --------
    >>> import nnlib
    >>> Unflatten(1, (5, 5, 16))(nnlib.ones(2, 400)).shape
    (2, 5, 5, 16)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        if not hasattr(unflattened_size, "__iter__"):
            raise DTypeError(f"unflattened_size must be integers. Received: {unflattened_size!r}")
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: TensorLike) -> Tensor:
        """(..., product, ...) → (..., *unflattened_size, ...)."""
        x = as_tensor(x)
        axis, sizes = check_axis(self.dim, x.ndim, "dim"), list(self.unflattened_size)
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) == 1 and known and x.shape[axis] % known == 0:
            sizes[sizes.index(-1)] = x.shape[axis] // known
        if math.prod(sizes) != x.shape[axis] or min(sizes, default=1) < 0:
            raise ShapeError(
                f"the sizes {self.unflattened_size} must multiply to axis {self.dim}. "
                f"Received: {x.dtype} {x.shape}"
            )
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])

    def extra_repr(self) -> str:
        """Return the options."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
