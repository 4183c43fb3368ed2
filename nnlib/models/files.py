"""Language models in one file: weights, sizes and tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias

from nnlib import nn
from nnlib.data import BPETokenizer, CharTokenizer, tokenizer_from_json
from nnlib.errors import DTypeError, FileFormatError, NnlibError
from nnlib.io import load, save
from nnlib.models.charrnn import CharRNN
from nnlib.models.gpt import GPT
from nnlib.models.transformer import Transformer
from nnlib_backends import Backend, get_backend, use_backend

__all__ = ["language_model_notes", "load_language_model", "save_language_model"]

AnyTokenizer: TypeAlias = CharTokenizer | BPETokenizer

_MODELS: dict[str, Callable[..., nn.Module]] = {
    "GPT": GPT,
    "CharRNN": CharRNN,
    "Transformer": Transformer,
}
_MODEL, _OPTIONS, _TOKENIZER = "nnlib.model", "nnlib.options", "nnlib.tokenizer"


def language_model_notes(model: nn.Module, tokenizer: AnyTokenizer) -> dict[str, str]:
    """Return what `load_language_model` needs beside the weights: metadata for `nnlib.save`.

    Raises
    ------
    DTypeError
        If it is not one of the library's language models.

    Examples
    --------
    >>> model = CharRNN(3, width=8)
    >>> language_model_notes(model, CharTokenizer("abc"))["nnlib.model"]
    'CharRNN'
    """
    kind = type(model).__name__
    if _MODELS.get(kind) is not type(model):
        raise DTypeError(
            f"a language model must be one of {', '.join(_MODELS)}. Received: {kind}. "
            "Save others with nnlib.save(model, path)"
        )
    options = model.options if isinstance(model, CharRNN) else asdict(model.config)
    return {_MODEL: kind, _OPTIONS: json.dumps(options), _TOKENIZER: tokenizer.to_json()}


def save_language_model(
    model: nn.Module, tokenizer: AnyTokenizer, path: str | os.PathLike[str]
) -> None:
    """Write a language model to a safetensors file that needs nothing else to be used.

    Parameters
    ----------
    model : GPT, CharRNN or Transformer
    tokenizer : CharTokenizer or BPETokenizer
        What its tokens stand for.
    path : path

    Raises
    ------
    DTypeError
        If it is not one of the library's language models.
    OutputError
        If the file cannot be written.  An older one is as it was then.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> save_language_model(CharRNN(3, width=8), CharTokenizer("abc"), path)
    >>> model, tokenizer = load_language_model(path)
    >>> tokenizer
    CharTokenizer('abc')
    """
    save(model, path, metadata=language_model_notes(model, tokenizer))


def load_language_model(
    path: str | os.PathLike[str], backend: str | Backend | None = None
) -> tuple[nn.Module, AnyTokenizer]:
    """Read what `save_language_model` or ``nnlib train`` wrote; dropout is off.

    Parameters
    ----------
    path : path
    backend : str or Backend, optional
        Where the model goes; the current backend if not given.

    Returns
    -------
    model : GPT, CharRNN or Transformer
    tokenizer : CharTokenizer or BPETokenizer

    Raises
    ------
    InputError
        If the file cannot be read.
    FileFormatError
        If it is damaged, or not of a language model.
    MissingExtraError
        If its tokenizer needs a library that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/model.safetensors"
    >>> small = GPT(vocab_size=3, layers=1, heads=1, width=8)
    >>> save_language_model(small, CharTokenizer("abc"), path)
    >>> load_language_model(path)[0].config.width
    8
    """
    state, notes = load(path, backend, with_metadata=True)
    make = _MODELS.get(notes.get(_MODEL, ""))
    if make is None:
        raise FileFormatError(
            f"{path} must hold a language model: weights, its kind ({', '.join(_MODELS)}) and a "
            f"tokenizer. Received: {notes.get(_MODEL, 'weights alone')}. "
            "Such files are written by nnlib train and nnlib.models.save_language_model"
        )
    tokenizer = tokenizer_from_json(notes.get(_TOKENIZER, ""))
    try:
        options: dict[str, Any] = json.loads(notes[_OPTIONS])
        with use_backend(get_backend() if backend is None else backend), nn.init.skip():
            model = make(**options)
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, NnlibError) as error:
        raise FileFormatError(f"{path} does not fit its own description. {error}") from error
    return model.eval(), tokenizer
