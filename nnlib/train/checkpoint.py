"""Checkpoints: the whole state of a training run in one safetensors file.

Nested dicts and lists of tensors, numbers and texts are separated: tensors are stored
under the path of their keys, everything else in the metadata, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnlib._version import __version__
from nnlib.autograd import Tensor
from nnlib.errors import DTypeError, FileFormatError
from nnlib.io import load, make_folder, save
from nnlib.reading import parse_json, parsing

__all__ = ["copied", "load_state", "pack", "save_state", "size_in_bytes", "unpack"]

FORMAT = "nnlib-checkpoint"
VERSION = "1"


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a nested state to a file, atomically.

    Raises
    ------
    OutputError
        If it cannot be written.
    DTypeError
        If the state holds something other than tensors, numbers, texts, dicts and lists.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = pack(state, tensors)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "nnlib": __version__,
        "state": json.dumps(skeleton),
    }
    make_folder(path.parent)
    save(tensors, path, metadata=metadata)


def pack(value: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    """Return ``value`` in terms of JSON; add its tensors to ``tensors``, by their paths.

    Examples
    --------
    >>> import nnlib
    >>> tensors = {}
    >>> pack({"w": nnlib.ones(2), "steps": {1: 0.5}}, tensors)
    {'dict': [['w', {'tensor': 'w'}], ['steps', {'dict': [[1, 0.5]]}]]}
    >>> tensors
    {'w': tensor([1., 1.])}
    """
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {"tensor": path}
    if isinstance(value, Mapping):
        # as pairs, because keys in JSON are texts, and these may be numbers
        return {
            "dict": [[key, pack(item, tensors, _join(path, key))] for key, item in value.items()]
        }
    if isinstance(value, list):
        return [pack(item, tensors, _join(path, i)) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [pack(item, tensors, _join(path, i)) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise DTypeError(
        "a checkpoint can hold tensors, numbers, texts, dicts and lists. "
        f"Received: {type(value).__name__} at {path!r}"
    )


def unpack(value: Any, tensors: Mapping[str, Any]) -> Any:
    """Undo `pack`."""
    if isinstance(value, list):
        return [unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "tuple":
            return tuple(unpack(item, tensors) for item in content)
        return {key: unpack(item, tensors) for key, item in content}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"a number beyond 64 bits, {value!r:.40}")
    return value


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises
    ------
    InputError
        If the file cannot be read.
    FileFormatError
        If it is damaged or no checkpoint.
    """
    tensors, metadata = load(path, with_metadata=True)
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise FileFormatError(
            f"{path} must be a checkpoint of Trainer.save, version {VERSION}. Received: a "
            f"safetensors file with format {metadata.get('format')!r}, version "
            f"{metadata.get('version')!r}. For weights alone: model.load_state_dict(nnlib.load(…))"
        )
    kind = "a whole checkpoint"
    with parsing(path, kind):
        state = unpack(parse_json(metadata["state"], path, kind), tensors)
    if not isinstance(state, dict):
        raise FileFormatError(f"{path} must be {kind}. Received: metadata without a state")
    return state


def copied(state: Any) -> Any:
    """Copy a nested state; tensors are copied on their device.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.ones(2)
    >>> saved = copied({"w": w})
    >>> w[...] = 0
    >>> saved
    {'w': tensor([1., 1.])}
    """
    if isinstance(state, Tensor):
        return Tensor(state.data.copy(), state.backend)
    if isinstance(state, Mapping):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(copied(value) for value in state)
    return state


def size_in_bytes(state: Any) -> int:
    """Memory of all tensors in a nested state."""
    return sum(tensor.data.nbytes for tensor in _tensors(state))


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)


def _join(path: str, key: Any) -> str:
    return f"{path}/{key}" if path else str(key)
