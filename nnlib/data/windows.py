"""Windows of a long text, for training a language model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.errors import DataError, DTypeError, OptionError, describe
from nnlib_backends.interop import from_library

__all__ = ["TextWindows"]


class TextWindows:
    """All windows of a sequence of tokens; the targets are the tokens one position later.

    A dataset for `DataLoader` and `nnlib.Trainer`.  Window ``i`` begins at token ``i · stride``:
    its input are ``context`` tokens, its target those that are one further.

    Parameters
    ----------
    tokens : array of integers, (N,)
        On the host, such as the result of `CharTokenizer.encode`; not copied.
    context : int
        Tokens in a window.
    stride : int
        From the start of one window to that of the next.  Use 1 and a shuffling loader for random
        windows, ``context`` for evaluation, in which every token is a target once.

    Raises
    ------
    OptionError
        If ``context`` or ``stride`` is not at least 1.
    DTypeError
        If the tokens are no integers on one axis.
    DataError
        If there are too few tokens for one window.

    Examples
    --------
    >>> windows = TextWindows(np.arange(10), context=3, stride=3)
    >>> windows
    TextWindows(3 × 3 tokens, stride 3)
    >>> x, y = windows[np.array([0, 2])]
    >>> x.tolist(), y.tolist()
    ([[0, 1, 2], [6, 7, 8]], [[1, 2, 3], [7, 8, 9]])
    """

    def __init__(self, tokens: npt.NDArray[Any], context: int, stride: int = 1) -> None:
        if min(context, stride) < 1:
            raise OptionError(
                f"context and stride must be at least 1. Received: {context} and {stride}"
            )
        self.context, self.stride = context, stride
        tokens = from_library(tokens)
        kind = getattr(getattr(tokens, "dtype", None), "kind", None)
        if kind not in ("i", "u") or tokens.ndim != 1:
            raise DTypeError(
                "tokens must be an array of integers on one axis, as a tokenizer's encode gives. "
                f"Received: {describe(tokens):.80}"
            )
        if len(tokens) <= context:
            raise DataError(
                f"a window of {context} tokens and the one after it need at least {context + 1}. "
                f"Received: {len(tokens)} tokens. Give a longer text or a smaller context"
            )
        self._windows = np.lib.stride_tricks.sliding_window_view(tokens, context + 1)[::stride]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Inputs and targets, each (..., context), of one window or an array of them."""
        windows = self._windows[index]
        return np.ascontiguousarray(windows[..., :-1]), np.ascontiguousarray(windows[..., 1:])

    def __repr__(self) -> str:
        return f"TextWindows({len(self)} × {self.context} tokens, stride {self.stride})"
