"""`memory_summary`, which reports what uses a device's memory, and out-of-memory errors.

Nothing is counted while a program computes: a summary visits all objects of Python's garbage
collector.  Modules register their classes that hold arrays in `holders`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from nnlib.errors import OutOfMemoryError
from nnlib_backends import Backend, get_backend, load_backend
from nnlib_backends.base import Array

__all__ = ["MemorySummary", "holders", "memory_summary", "out_of_memory"]

#: An array is counted once, in the first of its roles.
ROLES = ("parameters", "gradients", "state", "recordings", "activations", "tensors")

Held = Iterable[tuple[str, Backend, Array | int]]
"""Role, backend, and an array or a number of bytes."""

#: Class → function that yields what an object holds.
holders: dict[type, Callable[[Any], Held]] = {}


@dataclass(frozen=True)
class MemorySummary:
    """Use of one device's memory, in bytes.

    Attributes
    ----------
    backend : str
        Name of the backend.
    parameters, gradients, state : int
        Of all models and optimizers.
    recordings : int
        Of the traces of compiled functions.
    activations : int
        Kept for the backward pass.
    tensors : int
        Of other tensors.
    rest : int
        Other memory in use: temporary arrays; on the CPU also Python and the libraries.
    cached : int
        Free blocks in a GPU's memory pool.
    free : int
        Memory of the device that no process uses.

    Examples
    --------
    >>> print(MemorySummary("numpy", 4 << 20, 4 << 20, 8 << 20, 0, 0, 0, 60 << 20, 0, 1 << 30))
    memory of 'numpy'
      parameters         4.0 MiB
      gradients          4.0 MiB
      state              8.0 MiB
      rest              60.0 MiB
      free               1.0 GiB
    """

    backend: str
    parameters: int
    gradients: int
    state: int
    recordings: int
    activations: int
    tensors: int
    rest: int
    cached: int
    free: int

    def to_dict(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {name: getattr(self, name) for name in (*ROLES, "rest", "cached", "free")}

    def __str__(self) -> str:
        lines = [
            f"  {name:<12}{in_words(nbytes):>14}"
            for name, nbytes in self.to_dict().items()
            if nbytes or name == "free"
        ]
        return "\n".join([f"memory of {self.backend!r}", *lines])


def in_words(nbytes: int) -> str:
    """Format a number of bytes with a unit.

    Examples
    --------
    >>> in_words(3), in_words(1536), in_words(80 << 30)
    ('3 B', '1.5 KiB', '80.0 GiB')
    """
    if nbytes < 1024:
        return f"{nbytes} B"
    power = min((nbytes.bit_length() - 1) // 10, 4)
    return f"{nbytes / 1024**power:.1f} {'KMGT'[power - 1]}iB"


def memory_summary(backend: Backend | str | None = None) -> MemorySummary:
    """Return what uses the memory of a backend's device.

    Takes a moment, since all of Python's objects are visited; reads no values.

    Parameters
    ----------
    backend : str or Backend, optional
        The current backend if not given.

    Returns
    -------
    MemorySummary
        Numbers of bytes; prints as a table.

    Raises
    ------
    UnknownBackendError, BackendUnavailableError
        If the backend cannot be used.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> before = nnlib.memory_summary()
    >>> model = nn.Linear(1000, 100, bias=False)
    >>> optimizer = optim.Adam(model.parameters())
    >>> model(nnlib.ones(2, 1000)).sum().backward()
    >>> optimizer.step()
    >>> after = nnlib.memory_summary()
    >>> after.parameters - before.parameters, after.gradients - before.gradients
    (400000, 400000)
    >>> after.state - before.state  # two moments
    800000
    """
    chosen = get_backend() if backend is None else load_backend(backend)
    claims: dict[Any, tuple[int, int]] = {}  # memory → rank of its role, bytes
    for thing in gc.get_objects():
        for kind in type(thing).__mro__:
            if kind in holders:
                with suppress(AttributeError):  # in another thread's __init__
                    _claim(claims, chosen, thing, holders[kind](thing))
    used = dict.fromkeys(ROLES, 0)
    for rank, nbytes in claims.values():
        used[ROLES[rank]] += nbytes
    info = chosen.memory_info()
    rest = max(0, info.used - sum(used.values()))
    return MemorySummary(chosen.name, **used, rest=rest, cached=info.cached, free=info.free)


def _claim(claims: dict[Any, tuple[int, int]], backend: Backend, thing: Any, held: Held) -> None:
    for role, owner, array in held:
        if owner is not backend or array is None:
            continue
        rank = ROLES.index(role)
        key, nbytes = (thing, array) if isinstance(array, int) else backend.memory_of(array)
        claims[key] = min(claims.get(key, (rank, nbytes)), (rank, nbytes))


def out_of_memory(error: MemoryError, backend: Backend, what: str) -> MemoryError:
    """Return an error that says what uses the memory, and free the blocks of the memory pool.

    Parameters
    ----------
    error : MemoryError
        NumPy's or CuPy's; nnlib's own is returned unchanged.
    backend : Backend
        Backend whose memory is full.
    what : str
        Name of the computation that failed.
    """
    if isinstance(error, OutOfMemoryError):
        return error
    summary = memory_summary(backend)  # before blocks are freed
    backend.release_memory()
    return OutOfMemoryError(
        f"{what} needs more memory than {backend.name!r} has. Received: {_first_line(error)}. "
        f"In use: {_in_a_line(summary)}. Make the batch smaller (Trainer: accumulate=… keeps the "
        "gradient the same), or delete what is not needed any more"
    )


def _in_a_line(summary: MemorySummary) -> str:
    parts = [f"{name} {in_words(n)}" for name, n in summary.to_dict().items() if n]
    return ", ".join(parts)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
