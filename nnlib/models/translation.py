"""Texts in, texts out: a `Transformer` and its tokenizer together."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol, overload

from nnlib.autograd import Tensor, tensor
from nnlib.data import tokenizer_from_json
from nnlib.errors import FileFormatError, NnlibError, OptionError
from nnlib.io import load, save
from nnlib.models.transformer import Transformer, TransformerConfig
from nnlib.nn.inference import inference
from nnlib_backends import Backend, use_backend

__all__ = ["Codec", "load_translator", "save_translator", "translate"]

KIND = "Transformer"  # in a file's metadata


class Codec(Protocol):
    """What `translate` needs of a tokenizer; those of `nnlib.data` have it."""

    def encode(self, text: str) -> Any:
        """Turn a text into the numbers of its tokens."""

    def decode(self, ids: Any) -> str:
        """Turn numbers of tokens into a text."""


@overload
def translate(
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
        Used in inference mode, whatever mode it is in.
    tokenizer : BPETokenizer, CharTokenizer or the like
        With which the model was trained.
    text : str or sequence of str
    beam, length_penalty
        As of `Transformer.generate`.
    max_new_tokens : int, optional
        Longest translation; if not given twice the source's tokens and 10, within ``context``.
    batch_size : int
        How many texts to translate at once; those of similar length go together.

    Returns
    -------
    str, or list of str
        As the text was.

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
    for first in range(0, len(order), batch_size):
        some = order[first : first + batch_size]
        batch = _padded([sources[i] for i in some], model)
        steps = max_new_tokens or min(model.config.context, 2 * batch.shape[1] + 10)
        with inference(model), use_backend(batch.backend):
            written = model.generate(batch, steps, beam, length_penalty).tolist()
        for i, ids in zip(some, written, strict=True):
            end = ids.index(model.config.end) if model.config.end in ids else len(ids)
            results[i] = tokenizer.decode(ids[:end])
    return results[0] if isinstance(text, str) else results


def _padded(sequences: list[list[int]], model: Transformer) -> Tensor:
    longest = max(map(len, sequences))
    rows = [ids + [model.config.padding] * (longest - len(ids)) for ids in sequences]
    return tensor(rows, dtype="int64", backend=model.embedding.weight.backend)


def save_translator(model: Transformer, tokenizer: Any, path: str | os.PathLike[str]) -> None:
    """Write a model with its sizes and its tokenizer to one safetensors file.

    The sizes and the tokenizer are JSON texts in the file's metadata, ``config`` and ``tokenizer``.

    Parameters
    ----------
    model : Transformer
    tokenizer : BPETokenizer or CharTokenizer
    path : path

    Raises
    ------
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from nnlib.data import CharTokenizer
    >>> path = tempfile.mkdtemp() + "/translator.safetensors"
    >>> model = Transformer(vocab_size=7, layers=1, heads=2, width=8, hidden=16)
    >>> save_translator(model, CharTokenizer("_^$ abc"), path)
    >>> load_translator(path)[1]
    CharTokenizer('_^$ abc')
    """
    metadata = {
        "model": KIND,
        "config": json.dumps(asdict(model.config)),
        "tokenizer": tokenizer.to_json(),
    }
    save(model, path, metadata)


def load_translator(
    path: str | os.PathLike[str], backend: str | Backend | None = None
) -> tuple[Transformer, Any]:
    """Read what `save_translator` wrote.

    Parameters
    ----------
    path : path
    backend : str or Backend, optional
        Where the parameters go; the current backend if not given.

    Returns
    -------
    model : Transformer
        In evaluation mode.
    tokenizer : BPETokenizer or CharTokenizer

    Raises
    ------
    InputError
        If the file cannot be read.
    FileFormatError
        If it is damaged or holds something else.
    MissingExtraError
        If it has a `BPETokenizer` and the ``tokenizers`` library is not installed.
    """
    state, notes = load(path, backend, with_metadata=True)
    if notes.get("model") != KIND:
        raise FileFormatError(
            f"{path} must be a translator, with its config and tokenizer in the metadata. "
            f"Received: metadata {sorted(notes)}"
        )
    try:
        config = TransformerConfig(**json.loads(notes["config"]))
        tokenizer = tokenizer_from_json(notes["tokenizer"])
        home = next(iter(state.values())).backend
        with use_backend(home):
            model = Transformer(config)
        model.load_state_dict(state)
    except (LookupError, TypeError, ValueError, StopIteration) as error:
        if isinstance(error, FileFormatError):
            raise
        reason = error if isinstance(error, NnlibError) else repr(error)
        raise FileFormatError(f"{path} is no whole translator: {reason}") from error
    return model.eval(), tokenizer
