"""Comparison of a saved state with a module, and the report of loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import BackendMismatchError, StateError, describe
from nnlib_backends.dtypes import is_floating
from nnlib_backends.interop import from_library

__all__ = ["LoadReport", "compare", "misfits"]

_MAX_LINES = 12  # per list in a report


@dataclass(frozen=True)
class LoadReport:
    """Names that `Module.load_state_dict` loaded and did not load; print it to read it.

    Attributes
    ----------
    model : str
        Class of the module.
    matched : list of str
        Names of the values that were loaded.
    missing : list of str
        Names in the module that the state does not have.
    unexpected : list of str
        Names in the state that the module does not have.
    mismatched : dict of str to str
        Name → description of the difference of shape or kind of dtype.

    Examples
    --------
    >>> from nnlib import nn
    >>> report = nn.Linear(3, 2).load_state_dict({"bias": nn.Linear(1, 2).bias}, strict=False)
    >>> report.missing
    ['weight']
    >>> report
    1 of 2 values of Linear were loaded
      missing, left as they were (1):
        weight
    """

    model: str
    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether all values of module and state were loaded."""
        return not (self.missing or self.unexpected or self.mismatched)

    def check(self, strict: bool, skip_mismatch: bool) -> None:
        """Raise `StateError` if a difference is not allowed."""
        problems = []
        if strict and self.missing:
            problems.append(f"missing: {', '.join(self.missing)}")
        if strict and self.unexpected:
            problems.append(f"unexpected: {', '.join(self.unexpected)}")
        if not skip_mismatch:
            problems += self.mismatched.values()
        if not problems and not self.matched and (self.unexpected or self.mismatched):
            first = next(iter([*self.unexpected, *self.mismatched.values()]))
            own = next(iter([*self.missing, *self.mismatched]), "none")
            problems.append(
                f"nothing in it matches: it has {first}, …, while the model has {own}, …"
            )
        if problems:
            raise StateError(f"the state does not fit {self.model}. {'; '.join(problems)}")

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatched)
        lines = [f"{len(self.matched)} of {total} values of {self.model} were loaded"]
        for what, names in (
            ("mismatched, left as they were", list(self.mismatched.values())),
            ("missing, left as they were", self.missing),
            ("unexpected, not used", self.unexpected),
        ):
            if names:
                lines.append(f"  {what} ({len(names)}):")
                lines += [f"    {name}" for name in names[:_MAX_LINES]]
                if len(names) > _MAX_LINES:
                    lines.append(f"    … and {len(names) - _MAX_LINES} more")
        return "\n".join(lines)

    __repr__ = __str__


def compare(model: str, own: Mapping[str, Tensor], state: Mapping[str, Any]) -> LoadReport:
    """Sort the values of a state into those for a module's tensors and others.

    Examples
    --------
    >>> import nnlib
    >>> compare("Net", {"w": nnlib.zeros(2)}, {"w": nnlib.zeros(2)}).matched
    ['w']
    """
    mismatched = misfits(own, state)
    return LoadReport(
        model=model,
        matched=[name for name in own if name in state and name not in mismatched],
        missing=[name for name in own if name not in state],
        unexpected=[name for name in state if name not in own],
        mismatched=mismatched,
    )


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, str]:
    """Describe the values that cannot be copied into the tensors of the same names.

    The shapes must be equal, and floats must not become integers or booleans, nor the other
    way round: such a file has other contents, for instance quantised weights.

    Examples
    --------
    >>> import nnlib
    >>> misfits({"w": nnlib.zeros(2)}, {"w": nnlib.zeros(3)})
    {'w': 'w must be floating-point numbers of shape (2,), received float32 (3,)'}
    """
    return {
        name: f"{name} must be {_kind(value)} of shape {value.shape}, "
        f"received {_in_words(state[name])}"
        for name, value in own.items()
        if name in state and not _fits(state[name], value)
    }


def _kind(value: Any) -> str:
    if is_floating(value.dtype):
        return "floating-point numbers"
    return {"i": "whole numbers", "u": "whole numbers", "b": "booleans"}.get(value.dtype.kind, "")


def _fits(value: Any, own: Tensor) -> bool:
    if not isinstance(value, Tensor):
        try:
            value = from_library(value)
        except BackendMismatchError:  # a sparse array, or one without values
            return False
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return False
    return _kind(value) == _kind(own) and tuple(value.shape) == own.shape


def _in_words(value: Any) -> str:
    return describe(value) if hasattr(value, "shape") else type(value).__name__
