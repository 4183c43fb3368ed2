"""Cross-entropies of logits (the values before sigmoid or softmax), numerically stable."""

from nnlib.errors import ShapeError, describe
from nnlib.ops.arithmetic import abs, maximum
from nnlib.ops.comparison import where
from nnlib.ops.explog import exp, log1p
from nnlib.ops.indexing import take_along_axis
from nnlib.ops.operation import TO_FLOAT32, Integers, fused
from nnlib.ops.shaping import expand_dims, squeeze
from nnlib.ops.softmax import log_softmax
from nnlib_backends.base import IGNORED

__all__ = ["sigmoid_cross_entropy", "softmax_cross_entropy"]


def _check(logits, labels):
    if len(logits.shape) != 2 or labels.shape != logits.shape[:1] or logits.shape[1] == 0:
        raise ShapeError(
            "softmax_cross_entropy needs logits (N, C ≥ 1) and labels (N,). "
            f"Received: {describe(logits, labels)}"
        )


def _check_same(logits, targets):
    if logits.shape != targets.shape:
        raise ShapeError(
            "sigmoid_cross_entropy needs logits and targets of one shape. "
            f"Received: {describe(logits, targets)}"
        )


@fused(
    samples=[([(4, 3), Integers((4,), 3)], {}), ([(65, 10), Integers((65,), 10)], {})],
    check=_check,
    autocast=TO_FLOAT32,
)
def softmax_cross_entropy(logits, labels):
    """``−log softmax(logits)[label]`` for every row.

    Parameters
    ----------
    logits : (N, C)
    labels : (N,) integers in [0, C)
        Or `nnlib_backends.base.IGNORED`: loss and gradient of such a row are 0, even if its logits
        are NaN.

    Returns
    -------
    (N,)

    Examples
    --------
    >>> import numpy as np
    >>> softmax_cross_entropy(np.zeros((1, 4)), np.array([2])).round(4)
    array([1.3863])
    """
    labels = expand_dims(labels, axis=-1)
    counts = labels != IGNORED
    # logsumexp − logit would lose all digits between large logits
    scores = log_softmax(where(counts, logits, 0.0), axis=-1)
    chosen = take_along_axis(scores, where(counts, labels, 0), axis=-1)
    return squeeze(where(counts, -chosen, 0.0), axis=-1)


@fused(
    samples=[([(4, 3), (4, 3)], {})],
    check=_check_same,
    autocast=TO_FLOAT32,
)
def sigmoid_cross_entropy(logits, targets):
    """``−t log σ(x) − (1 − t) log(1 − σ(x))``, elementwise, finite for all finite logits.

    Parameters
    ----------
    logits, targets : arrays of one shape
        Targets are probabilities, usually 0 or 1.

    Examples
    --------
    >>> from nnlib import ops, tensor
    >>> ops.sigmoid_cross_entropy(tensor([0.0, 1e4]), tensor([1.0, 0.0])).numpy().round(4)
    array([6.931e-01, 1.000e+04], dtype=float32)
    """
    # softplus(x) − t x would lose a small loss between two large terms
    return maximum(logits, 0) - targets * logits + log1p(exp(-abs(logits)))
