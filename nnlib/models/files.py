"""Language models in one file: weights, sizes and tokenizer."""

from __future__ import annotations

import inspect
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from nnlib import nn
from nnlib.autograd import Tensor
from nnlib.data import BPETokenizer, CharTokenizer, tokenizer_from_json
from nnlib.errors import (
    BackendError,
    DTypeError,
    FileFormatError,
    MissingExtraError,
    NnlibError,
    OutOfMemoryError,
)
from nnlib.io import load, save
from nnlib.models.charrnn import CharRNN
from nnlib.models.gpt import GPT, GPTConfig
from nnlib.models.transformer import Transformer, TransformerConfig
from nnlib.reading import parse_json, parsing
from nnlib_backends import Backend, get_backend, use_backend

__all__ = ["language_model_notes", "load_language_model", "save_language_model"]

AnyTokenizer: TypeAlias = CharTokenizer | BPETokenizer

_MODELS: dict[str, Callable[..., nn.Module]] = {
    "GPT": GPT,
    "CharRNN": CharRNN,
    "Transformer": Transformer,
}
_TAKES: dict[str, Callable[..., Any]] = {  # whose parameters the options are
    "GPT": GPTConfig,
    "CharRNN": CharRNN,
    "Transformer": TransformerConfig,
}
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
}
_LAYER = re.compile(r"(?:^h|layers)\.([0-9]+)\.|_l([0-9]+)$")  # its number in a name
_TABLE = 1 << 23  # values of a table of positions, which is in no file
_MODEL, _OPTIONS, _TOKENIZER = "nnlib.model", "nnlib.options", "nnlib.tokenizer"


def language_model_notes(model: nn.Module, tokenizer: AnyTokenizer) -> dict[str, str]:
    """Return the metadata for `nnlib.save` that `load_language_model` reads.

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
    """Write a language model with its sizes and tokenizer to a safetensors file.

    Parameters
    ----------
    model : GPT, CharRNN or Transformer
    tokenizer : CharTokenizer or BPETokenizer
        The one that the model was trained with.
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
        Of the model; the current backend if not given.

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
    try:
        with parsing(path, "a language model and its description"):
            tokenizer = tokenizer_from_json(notes.get(_TOKENIZER, ""))
            options = _options(notes[_MODEL], parse_json(notes[_OPTIONS], path, "its options"))
            _check_sizes(options, state)
            with use_backend(get_backend() if backend is None else backend), nn.init.skip():
                model = make(**options)
            model.load_state_dict(state)
    except (MissingExtraError, BackendError, OutOfMemoryError):
        raise
    except NnlibError as error:
        raise FileFormatError(f"{path} does not fit its own description. {error}") from error
    return model.eval(), tokenizer


def _options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a model, with defaults, after checking their types."""
    bound = inspect.signature(_TAKES[kind]).bind(**given)
    bound.apply_defaults()
    for name, parameter in bound.signature.parameters.items():
        value, kinds = bound.arguments[name], _KINDS[parameter.annotation]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise DTypeError(f"{name} must be of type {parameter.annotation}. Received: {value!r}")
    return bound.arguments


def _check_sizes(options: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Refuse sizes other than those of the file's tensors, before making the model."""
    numbers = {int(found[1] or found[2]) for name in state if (found := _LAYER.search(name))}
    if numbers != set(range(len(numbers))) or options["layers"] != len(numbers):
        raise FileFormatError(
            f"the file must have weights of layers 0 … {options['layers'] - 1}, as its options "
            f"say. Received: {len(numbers)} layers"
        )
    sizes = {size for value in state.values() for size in value.shape}
    values = sum(value.size for value in state.values())
    for name in ("vocab_size", "width", "hidden", "context"):
        size = options.get(name, 0)
        table = size * options["width"] if name == "context" else math.inf
        if name in options and size not in sizes and table > max(values, _TABLE):
            raise FileFormatError(
                f"{name} must be a size of the file's tensors. Received: {size} in its options"
            )
