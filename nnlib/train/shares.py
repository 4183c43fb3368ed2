"""Weighting the losses of several batches so that their gradient is that of one larger batch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nnlib import ops
from nnlib.autograd import Tensor
from nnlib.nn.functional.counted import Count
from nnlib.tracing import perform
from nnlib_backends.base import Array

__all__ = ["Shares"]


class Shares:
    """The weight of each batch's loss in that of a group of batches.

    The weight is proportional to the divisor of the loss, but the sum of all divisors is known
    only after the last forward pass.  So the losses are divided by an estimate, and the gradients
    are corrected once, at the end, if the estimate was wrong.  Nothing is read from a device.

    Parameters
    ----------
    targets : sequence of Tensor
        Of all batches.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([2.0], requires_grad=True)
    >>> shares = Shares([nnlib.zeros(3), nnlib.zeros(3)])
    >>> for count in (3, 1):  # of the second batch, one value counts
    ...     shares.of((count * w).mean(), count).backward()
    >>> shares.settle([w])
    >>> w.grad  # (3 · 3 + 1 · 1) / 4
    tensor([2.5])
    """

    def __init__(self, targets: Sequence[Tensor]) -> None:
        self._targets = targets
        self._estimate = 0.0
        self._total: Tensor | float = 0.0

    def of(self, loss: Tensor, count: Count) -> Tensor:
        """Return a loss times its weight; sums, whose count is None, are added."""
        if count is None:
            return loss
        if isinstance(count, Tensor):
            count = count.astype("float64")
        self._estimate = self._estimate or self._estimated(count)
        self._total = self._total + count
        share = _or_one(count) / self._estimate
        if isinstance(share, Tensor):
            share = share.astype(loss.dtype if loss.dtype.itemsize >= 4 else "float32")
        return loss * share

    def _estimated(self, first: Tensor | float) -> float:
        """Estimate the sum of all divisors from the first one."""
        sizes = [target.shape[0] for target in self._targets]
        if isinstance(first, Tensor) or not first or not sizes[0]:
            return float(max(1, sum(target.size for target in self._targets)))
        return first / sizes[0] * sum(sizes)  # exact if all samples count equally

    def settle(self, params: Iterable[Tensor]) -> None:
        """Correct the gradients, after the last backward pass."""
        factor = self._estimate / _or_one(self._total)
        gradients = [p.grad for p in params if p.grad is not None]
        right = not isinstance(factor, Tensor) and math.isclose(factor, 1, rel_tol=1e-12)
        if self._estimate and not right:
            number = factor.data if isinstance(factor, Tensor) else factor
            perform(_multiply, [gradient.data for gradient in gradients], number)
            for gradient in gradients:
                gradient.bump_version()


def _or_one(count: Tensor | float) -> Tensor | float:
    """Return the divisor of a sum, 1 in place of 0."""
    return ops.where(count > 0, count, 1) if isinstance(count, Tensor) else count or 1


def _multiply(arrays: list[Array], factor: Array | float) -> None:
    for array in arrays:
        array *= factor if isinstance(factor, float) else factor.astype(array.dtype)
