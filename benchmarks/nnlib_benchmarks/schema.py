"""Run ↔ JSON, checked field by field when a file is read.

The classes in `nnlib_benchmarks.records` are the schema: a file must have their fields, of their
types, all of them and no others.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from nnlib.reading import Content, parse_json, parsing, reading
from nnlib_benchmarks.errors import SchemaError
from nnlib_benchmarks.records import READABLE, SCHEMA, Run

_MOST = 1 << 28  # bytes of text; the longest run in this project has 3 MB


def to_json(run: Run) -> str:
    """Write a run as JSON text (UTF-8, no NaN: a number that is not finite becomes ``null``)."""
    return json.dumps(_finite(asdict(run)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_run(path: str | Path) -> Run:
    """Read a run from a file, packed with gzip or not.

    Raises
    ------
    SchemaError
        If the file cannot be read, is not JSON, is of another kind or version, or a field is
        missing, unknown or of the wrong type.  The text names the file and the field.
    """
    with (
        reading(path, SchemaError, SchemaError) as file,
        parsing(path, "a readable text file (UTF-8), gzip if packed", SchemaError),
    ):
        content = Content(file)
        data = content.read(min(content.most, _MOST) + 1)
        text = data.decode("utf8")
    if len(data) > _MOST:
        raise SchemaError(
            f"{path} must hold at most {_MOST} bytes of text. Received: more. "
            "Give a file that `nnlib bench` wrote."
        )
    return from_json(text, source=str(path))


def from_json(text: str, source: str = "<text>") -> Run:
    """Parse JSON text into a run; see `load_run`.

    Examples
    --------
    >>> from_json('{"schema": "nnlib-bench", "version": 99}')
    Traceback (most recent call last):
    ...
    nnlib_benchmarks.errors.SchemaError: <text>: version must be 1 or 2. Received: 99. ...
    """
    kind = "a benchmark result"
    document = parse_json(text, source, kind, SchemaError)
    _check_header(document, source)
    with parsing(source, kind, SchemaError):
        run: Run = _parse(Run, document, "", source)
    return run


def _check_header(document: dict[str, Any], source: str) -> None:
    kind = document.get("schema")
    if kind != SCHEMA:
        raise SchemaError(
            f"{source}: schema must be {SCHEMA!r}. Received: {kind!r}. "
            "Give a JSON file that `nnlib bench` wrote."
        )
    if document.get("version") not in READABLE:
        known = " or ".join(map(str, READABLE))
        raise SchemaError(
            f"{source}: version must be {known}. Received: {document.get('version')!r}. "
            "Read it with the nnlib that wrote it, or measure again."
        )


def _parse(kind: Any, value: Any, where: str, source: str) -> Any:
    """Convert parsed JSON to `kind`, or raise with the path of the wrong field."""
    if kind is Any:
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # X | None is the only union in the records
        if value is None:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, where, source)
    if is_dataclass(kind):
        return _parse_record(kind, value, where, source)
    if origin is list and isinstance(value, list):
        return [_parse(arguments[0], v, f"{where}[{i}]", source) for i, v in enumerate(value)]
    if origin is dict and isinstance(value, dict):
        return {k: _parse(arguments[1], v, f"{where}[{k!r}]", source) for k, v in value.items()}
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind is float and value is None:  # a number that was not finite: JSON has no NaN
        return math.nan
    if origin is None and type(value) is kind:  # exactly: True is no int here
        return value
    raise SchemaError(
        f"{source}: {where} must be {_name(kind)}. Received: {json.dumps(value)[:60]}"
    )


def _parse_record(kind: Any, value: Any, where: str, source: str) -> Any:
    if not isinstance(value, dict):
        raise SchemaError(
            f"{source}: {where} must be an object ({kind.__name__}). "
            f"Received: {json.dumps(value)[:60]}"
        )
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}
    unknown = sorted(set(value) - set(known))
    if unknown:
        raise SchemaError(f"{source}: {where or 'the run'} has unknown fields {unknown}")
    parsed = {}
    for name, entry in known.items():
        path = f"{where}.{name}" if where else name
        if name in value:
            parsed[name] = _parse(hints[name], value[name], path, source)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise SchemaError(f"{source}: {path} is missing ({_name(hints[name])})")
    return kind(**parsed)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)  # other types in a backend's details


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) if get_origin(kind) is None else str(kind)  # type: ignore[return-value]
