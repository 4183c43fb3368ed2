"""Save and load weights as safetensors.

A file has eight bytes with the length of a header, the header (JSON: name → dtype, shape, offsets)
and the values, without gaps.  The safetensors library checks files; this module reads and writes
the values one tensor at a time, so that a model on a GPU needs little host memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, BinaryIO, Literal, NamedTuple, overload

import numpy as np

from nnlib.autograd import Tensor
from nnlib.errors import BackendMismatchError, DTypeError, FileFormatError, StateError, describe
from nnlib.io.atomic import writing
from nnlib.nn import LoadReport, Module
from nnlib.reading import parsing, reading
from nnlib_backends import Backend, backend_of, get_backend, load_backend
from nnlib_backends.interop import from_library

__all__ = ["load", "load_into", "save"]

_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}
_BYTES = {"BOOL": "u1", "BF16": "u2"}  # dtypes that are stored as integers
_STORED = {
    code: np.dtype(_BYTES.get(code, name)).newbyteorder("<") for name, code in _CODES.items()
}
_METADATA = "__metadata__"


class _Entry(NamedTuple):
    """Name, dtype, shape and offsets of a tensor in a file."""

    name: str
    code: str
    shape: tuple[int, ...]
    begin: int
    end: int


# Saving --------------------------------------------------------------------------------------


def save(
    state: Module | Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights to a safetensors file, whole or not at all.

    Parameters
    ----------
    state : Module, or mapping of str to Tensor or array
        A module's parameters and buffers, shared ones once; or tensors and arrays of any library.
    path : path
        Usually ends in ``.safetensors``.  An old file is replaced when the new one is complete.
    metadata : mapping of str to str, optional
        Texts that are saved with the weights.

    Raises
    ------
    DTypeError
        If the format does not support a name, value or metadata.
    OutputError
        If the file cannot be written; an old file is not changed then.

    Examples
    --------
    >>> import nnlib, tempfile
    >>> path = tempfile.mkdtemp() + "/weights.safetensors"
    >>> model = nnlib.nn.Linear(3, 2)
    >>> save(model, path, metadata={"epoch": "7"})
    >>> sorted(load(path))
    ['bias', 'weight']
    """
    if isinstance(state, Module):
        state = state.state_dict()
    if not isinstance(state, Mapping):
        raise DTypeError(
            "state must be a module or a mapping of names to tensors, such as model.state_dict(). "
            f"Received: {type(state).__name__}"
        )
    state = {name: _of_a_backend(name, value) for name, value in state.items()}
    for name, value in state.items():
        _check_item(name, value)
    # large items first, as in the library, so that every tensor is aligned in memory
    names = sorted(state, key=lambda name: (-state[name].dtype.itemsize, name))
    header = _header(state, names, metadata)
    with writing(path) as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for name in names:
            array = np.asarray(_on_host(state[name]), order="C")
            stored = _STORED[_CODES[array.dtype.name]]
            array = array.view(stored.newbyteorder("=")) if array.dtype.kind in "bV" else array
            array = array.astype(stored, copy=False)
            file.write(array.reshape(-1).view(np.uint8).data)


def _of_a_backend(name: Any, value: Any) -> Any:
    try:
        return value if isinstance(value, Tensor) else from_library(value)
    except BackendMismatchError as error:
        raise DTypeError(f"{name} must be a tensor or array. {error}") from error


def _check_item(name: Any, value: Any) -> None:
    if not isinstance(name, str) or name == _METADATA:
        raise DTypeError(f"a name must be a text other than {_METADATA!r}. Received: {name!r}")
    dtype = getattr(getattr(value, "dtype", None), "name", None)
    if dtype not in _CODES:
        received = describe(value) if dtype else type(value).__name__
        raise DTypeError(
            f"{name} must be a tensor or array of {', '.join(_CODES)}. Received: {received}"
        )


def _header(
    state: Mapping[str, Any], names: list[str], metadata: Mapping[str, str] | None
) -> bytes:
    content: dict[str, Any] = {}
    if metadata:
        content[_METADATA] = dict(metadata)
        if not all(isinstance(item, str) for pair in metadata.items() for item in pair):
            raise DTypeError(f"metadata must be texts. Received: {dict(metadata)!r}")
    begin = 0
    for name in names:
        value = state[name]
        end = begin + value.size * value.dtype.itemsize
        content[name] = {
            "dtype": _CODES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    try:
        header = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise DTypeError(f"names and metadata must be valid Unicode. {error}") from error
    return header + b" " * (-len(header) % 8)


def _on_host(value: Any) -> np.ndarray[Any, Any]:
    array = value.data if isinstance(value, Tensor) else value
    if isinstance(array, np.ndarray | np.generic):
        return np.asarray(array)
    owner = value.backend if isinstance(value, Tensor) else backend_of(array)
    return owner.to_numpy(array)


# Loading -------------------------------------------------------------------------------------


@overload
def load(
    path: str | os.PathLike[str],
    backend: str | Backend | None = None,
    *,
    with_metadata: Literal[False] = False,
) -> dict[str, Tensor]: ...


@overload
def load(
    path: str | os.PathLike[str],
    backend: str | Backend | None = None,
    *,
    with_metadata: Literal[True],
) -> tuple[dict[str, Tensor], dict[str, str]]: ...


def load(
    path: str | os.PathLike[str],
    backend: str | Backend | None = None,
    *,
    with_metadata: bool = False,
) -> dict[str, Tensor] | tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file.

    Parameters
    ----------
    path : path
    backend : str or Backend, optional
        Backend of the tensors; the current one if not given.
    with_metadata : bool
        Also return the metadata.

    Returns
    -------
    dict of str to Tensor
        Tensors of the file's dtypes; bfloat16, which NumPy does not have, is converted to float32
        without rounding.
    dict of str to str
        The metadata, only with ``with_metadata=True``.

    Raises
    ------
    InputError
        If the file cannot be read; also a ``FileNotFoundError`` if it does not exist.
    FileFormatError
        If it is truncated, too long, inconsistent, or no safetensors file, or has dtypes that no
        backend supports, such as 8-bit floats.

    Examples
    --------
    >>> import nnlib, tempfile
    >>> path = tempfile.mkdtemp() + "/weights.safetensors"
    >>> save({"w": nnlib.ones(2)}, path, metadata={"epoch": "7"})
    >>> load(path)
    {'w': tensor([1., 1.])}
    >>> load(path, with_metadata=True)[1]
    {'epoch': '7'}
    """
    target = get_backend() if backend is None else load_backend(backend)
    tensors: dict[str, Tensor] = {}
    with reading(path) as file:
        _check(path)
        # the library accepts a few files that NumPy or JSON refuse
        with parsing(path, "a valid safetensors file"):
            entries, metadata, start = _read_header(file)
            for entry in entries:
                array = _read(file, start, entry)
                tensors[entry.name] = Tensor(target.asarray(array), target)
    return (tensors, metadata) if with_metadata else tensors


def load_into(
    module: Module,
    path: str | os.PathLike[str],
    *,
    strict: bool = True,
    skip_mismatch: bool = False,
) -> LoadReport:
    """Read a safetensors file into a module's parameters and buffers.

    Parameters
    ----------
    module : Module
        A module on any backend, which is not changed if an error is raised.
    path : path
    strict : bool
        Refuse missing and unexpected names.
    skip_mismatch : bool
        Leave out values of another shape instead of refusing them.

    Returns
    -------
    LoadReport
        The loaded and the missing names, see `nnlib.nn.Module.load_state_dict`.

    Raises
    ------
    InputError, FileFormatError
        See `load`.
    StateError
        See `nnlib.nn.Module.load_state_dict`.

    Examples
    --------
    >>> import nnlib, tempfile
    >>> path = tempfile.mkdtemp() + "/weights.safetensors"
    >>> first, second = nnlib.nn.Linear(3, 2), nnlib.nn.Linear(3, 2)
    >>> save(first, path)
    >>> load_into(second, path)
    2 of 2 values of Linear were loaded
    >>> bool((first.weight == second.weight).data.all())
    True
    """
    state = load(path, "numpy")
    try:
        return module.load_state_dict(state, strict=strict, skip_mismatch=skip_mismatch)
    except StateError as error:
        raise StateError(f"{path}: {error}") from error


def _check(path: str | os.PathLike[str]) -> None:
    """Check the header with the library, which refuses gaps, overlaps and wrong sizes."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise FileFormatError(
            f"{path} is not a whole safetensors file: {reason} (it has {os.path.getsize(path)} "
            "bytes). It may be damaged, truncated or of another format: get it again"
        ) from error


def _read_header(file: BinaryIO) -> tuple[list[_Entry], dict[str, str], int]:
    """Return a file's entries, its metadata and the offset of the values."""
    length = int.from_bytes(file.read(8), "little")
    content = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    metadata = content.pop(_METADATA, None) or {}
    entries = [
        _Entry(name, item["dtype"], tuple(item["shape"]), *item["data_offsets"])
        for name, item in content.items()
    ]
    for entry in entries:
        if entry.code not in _STORED:
            raise ValueError(
                f"{entry.name} has the dtype {entry.code}; nnlib reads {', '.join(_STORED)}"
            )
    return entries, metadata, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a name occurs twice in the header")
    return content


def _read(file: BinaryIO, start: int, entry: _Entry) -> np.ndarray[Any, Any]:
    """Read one tensor's values."""
    stored = _STORED[entry.code]
    values = np.empty((entry.end - entry.begin) // stored.itemsize, stored)
    file.seek(start + entry.begin)
    if file.readinto(values.view(np.uint8).data) != values.nbytes:  # type: ignore[attr-defined]
        raise ValueError(f"it ends within {entry.name}")
    if entry.code == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif entry.code == "BOOL":
        if values.size and values.max() > 1:
            raise ValueError(f"{entry.name} must be of booleans, bytes 0 and 1")
        values = values.view(np.bool_)
    return values.astype(values.dtype.newbyteorder("="), copy=False).reshape(entry.shape)
