"""The fully connected layer."""

from __future__ import annotations

from nnlib.autograd import Tensor
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import TensorLike
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = ["Linear"]


class Linear(Module):
    """``y = x Wᵀ + b`` with samples as rows (the course's z[l] = W[l] a[l−1] + b[l]).

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis before and after.
    bias : bool
        Whether to add b.

    Attributes
    ----------
    weight : Parameter, (out_features, in_features)
        Initially uniform in ± 1/√in_features, as in PyTorch.
    bias : Parameter, (out_features,), or None

    Raises
    ------
    OptionError
        If a size is not a non-negative integer.
    ShapeError
        When called, if the last axis is not ``in_features``.

    Examples
    --------
    >>> import nnlib
    >>> Linear(3, 2)(nnlib.ones(5, 3)).shape
    (5, 2)
    """

    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(init.empty(out_features, in_features))
        self.bias = Parameter(init.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = self.in_features**-0.5 if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: TensorLike, *, activation: str | None = None) -> Tensor:
        """(..., in_features) → (..., out_features); activation: see `F.linear`."""
        return F.linear(x, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
