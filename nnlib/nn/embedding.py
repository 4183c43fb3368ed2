"""Embeddings: a vector for each index of a word, character or position."""

from __future__ import annotations

from nnlib.autograd import Tensor, no_grad
from nnlib.errors import OptionError
from nnlib.nn import functional as F
from nnlib.nn import init
from nnlib.nn.functional.checks import TensorLike
from nnlib.nn.module import Module
from nnlib.nn.parameter import Parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for every index.

    Parameters
    ----------
    num_embeddings : int
        Number of indices.
    embedding_dim : int
        Size of a vector.
    padding_idx : int, optional
        The vector of this index is initially 0 and gets no gradient.

    Attributes
    ----------
    weight : Parameter, (num_embeddings, embedding_dim)
        Initially standard normal, as in PyTorch.

    Raises
    ------
    OptionError
        If a size is not a non-negative integer, or ``padding_idx`` is no index; when called, if an
        index is out of range (checked on the CPU only).
    DTypeError
        When called, if the indices are no integers.

    Examples
    --------
    >>> Embedding(10, 4)([[1, 2, 3]]).shape
    (1, 3, 4)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise OptionError(
                f"padding_idx must be one of the {num_embeddings} indices. Received: {padding_idx}"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        self.weight = Parameter(init.empty(num_embeddings, embedding_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def forward(self, indices: TensorLike) -> Tensor:
        """(...) integers → (..., embedding_dim)."""
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return the options."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
