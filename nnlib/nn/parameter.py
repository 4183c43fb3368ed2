"""`Parameter`: a tensor that is learned."""

from __future__ import annotations

from typing import Any

from nnlib import memory
from nnlib.autograd import Tensor, tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that a `Module` registers when it is assigned, and that an optimizer updates.

    Parameters
    ----------
    data : Tensor, array or sequence
        Initial values, which are not copied.
    requires_grad : bool
        Set to False to freeze it.

    Examples
    --------
    >>> Parameter([1.0, 2.0])
    Parameter([1., 2.], requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        source = data if isinstance(data, Tensor) else tensor(data)
        super().__init__(source.data, source.backend, None, source.version_cell)
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return super().__repr__().replace("tensor(", "Parameter(", 1)


def _held(parameter: Parameter) -> memory.Held:
    yield "parameters", parameter.backend, parameter.data


memory.holders[Parameter] = _held
