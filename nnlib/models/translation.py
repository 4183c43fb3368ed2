"""Translation of texts by a `Transformer` and its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol, overload

from nnlib.autograd import Tensor, tensor
from nnlib.errors import OptionError
from nnlib.models.transformer import Transformer
from nnlib.nn.inference import inference
from nnlib_backends import use_backend

__all__ = ["Codec", "translate"]


class Codec(Protocol):
    """Interface of a tokenizer for `translate`."""

    def encode(self, text: str) -> Any:
        """Turn a text into the numbers of its tokens."""

    def decode(self, ids: Any) -> str:
        """Turn numbers of tokens into a text."""


@overload
def translate(  # type: ignore[overload-overlap] # a str is a sequence of str, but comes first
    model: Transformer,
    tokenizer: Codec,
    text: str,
    beam: int = ...,
    length_penalty: float = ...,
    max_new_tokens: int | None = ...,
    batch_size: int = ...,
) -> str: ...
@overload
def translate(
    model: Transformer,
    tokenizer: Codec,
    text: Sequence[str],
    beam: int = ...,
    length_penalty: float = ...,
    max_new_tokens: int | None = ...,
    batch_size: int = ...,
) -> list[str]: ...
def translate(
    model: Transformer,
    tokenizer: Codec,
    text: str | Sequence[str],
    beam: int = 5,
    length_penalty: float = 1.0,
    max_new_tokens: int | None = None,
    batch_size: int = 32,
) -> str | list[str]:
    """Translate a text, or several.

    Parameters
    ----------
    model : Transformer
        Used in inference mode, whatever its current mode.
    tokenizer : BPETokenizer, CharTokenizer or the like
        The one that the model was trained with.
    text : str or sequence of str
    beam, length_penalty
        See `Transformer.generate`.
    max_new_tokens : int, optional
        Longest translation; if not given, twice the source's tokens, rounded up to a multiple of
        16, but at most ``context``.
    batch_size : int
        Number of texts to translate at once, grouped by similar length.  A translation does not
        depend on the others.

    Returns
    -------
    str, or list of str
        As the argument.

    Raises
    ------
    OptionError
        If an option is out of range.
    ShapeError
        If a text has more tokens than the model's ``context``.

    Examples
    --------
    >>> from nnlib.data import CharTokenizer
    >>> letters = CharTokenizer("_^$ abc")  # padding, start, end, and what texts consist of
    >>> model = Transformer(vocab_size=7, layers=1, heads=2, width=8, hidden=16)
    >>> type(translate(model, letters, "abba")), len(translate(model, letters, ["a", "bb"]))
    (<class 'str'>, 2)
    """
    if batch_size < 1:
        raise OptionError(f"batch_size must be at least 1. Received: {batch_size}")
    texts = [text] if isinstance(text, str) else list(text)
    sources = [[*map(int, tokenizer.encode(one)), model.config.end] for one in texts]
    order = sorted(range(len(texts)), key=lambda i: len(sources[i]))
    results = [""] * len(texts)
    for some in _groups(order, [_rounded(len(ids)) for ids in sources], batch_size):
        batch = _padded([sources[i] for i in some], model)
        limit = min(model.config.context, 2 * _rounded(batch.shape[1]))
        steps = limit if max_new_tokens is None else max_new_tokens
        with inference(model), use_backend(batch.backend):
            written = model.generate(batch, steps, beam, length_penalty).tolist()
        for i, ids in zip(some, written, strict=True):
            end = ids.index(model.config.end) if model.config.end in ids else len(ids)
            results[i] = tokenizer.decode(ids[:end])
    return results[0] if isinstance(text, str) else results


def _rounded(length: int) -> int:
    return -(-length // 16) * 16


def _groups(order: list[int], lengths: list[int], size: int) -> Iterator[list[int]]:
    """Cut sorted indices into groups with the same limit of steps."""
    for _, same in groupby(order, key=lambda i: lengths[i]):
        members = list(same)
        for first in range(0, len(members), size):
            yield members[first : first + size]


def _padded(sequences: list[list[int]], model: Transformer) -> Tensor:
    longest = max(map(len, sequences))
    rows = [ids + [model.config.padding] * (longest - len(ids)) for ids in sequences]
    return tensor(rows, dtype="int64", backend=model.embedding.weight.backend)
