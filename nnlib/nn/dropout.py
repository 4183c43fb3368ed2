"""Dropout."""

from __future__ import annotations

from nnlib.autograd import Tensor
from nnlib.nn import functional as F
from nnlib.nn.functional.checks import TensorLike, check_fraction
from nnlib.nn.module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, set each value to 0 with probability p and divide the others by 1 − p.

    In evaluation it returns its input.  `nnlib.random.default_generator` draws the mask.  Source:
    Srivastava et al. (2014).

    Parameters
    ----------
    p : float
        In [0, 1].

    Raises
    ------
    OptionError
        If p is outside [0, 1].

    Examples
    --------
    >>> import nnlib
    >>> _ = nnlib.manual_seed(0)
    >>> layer = Dropout(0.5)
    >>> layer(nnlib.ones(6))
    tensor([2., 0., 0., 0., 0., 2.])
    >>> layer.eval()(nnlib.ones(6))
    tensor([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_fraction(p, "p")
        self.p = p

    def forward(self, x: TensorLike) -> Tensor:
        """Any shape → the same shape."""
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"p={self.p}"
