"""Registry of backends by name, made at first use, and the current backend.

The order of choice: an explicit argument > ``with use_backend(...)`` > ``set_backend(...)`` > the
environment variable ``NNLIB_BACKEND`` > ``"numpy"``.
"""

from __future__ import annotations

import copyreg
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

from nnlib_backends.base import Array, Backend
from nnlib_backends.config import BACKEND
from nnlib_backends.errors import (
    BackendMismatchError,
    BackendUnavailableError,
    UnknownBackendError,
)
from nnlib_backends.locks import registering

Factory: TypeAlias = Callable[[int], Backend]
"""Makes the backend of a device, given its number (0 for the first)."""


@dataclass(frozen=True)
class _Registration:
    factory: Factory
    array_module: str  # root module of its array class: "numpy", "cupy"


_registrations: dict[str, _Registration] = {}
_loaded: dict[str, Backend] = {}
# Array class → backend: the hot path of operations on raw arrays.  None: two devices share it.
_by_array_type: dict[type, Backend | None] = {}
_default: Backend | None = None
_override: ContextVar[Backend | None] = ContextVar("nnlib_backend", default=None)
_entry_points_read: bool | None = False  # None: being read now


def register_backend(name: str, factory: Factory, *, array_module: str) -> None:
    """Register a backend.

    An installed package registers its backends by an entry point in the group ``nnlib.backends``: a
    function that is called with `register_backend` as its argument.

    Parameters
    ----------
    name : str
        The name in `use_backend` and the like; must not contain ``":"``.
    factory : callable
        ``factory(device) -> Backend``, called once for each device, when it is first used.
    array_module : str
        Root module of the backend's array class, by which `backend_of` finds the backend.

    Raises
    ------
    ValueError
        If the name is taken or contains a colon.

    Examples
    --------
    >>> from nnlib_backends import numpy_backend
    >>> class CountingBackend(numpy_backend.NumpyBackend):
    ...     name = "counting"
    >>> register_backend("counting", lambda device: CountingBackend(), array_module="counting")
    >>> "counting" in registered_backends()
    True
    >>> del _registrations["counting"]  # only an example
    """
    with registering:
        if not name or ":" in name or name in _registrations or name == "auto":
            raise ValueError(f"a backend's name must be new and have no ':'. Received: {name!r}")
        _registrations[name] = _Registration(factory, array_module)


def registered_backends() -> tuple[str, ...]:
    """Names of all known backends, usable here or not.

    Examples
    --------
    >>> registered_backends()[:2]
    ('numpy', 'cupy')
    """
    _read_entry_points()
    return tuple(_registrations)


def load_backend(name: str | Backend) -> Backend:
    """Return the backend of that name, making it on first use.

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"auto"`` or another registered name; a backend is
        returned as it is.

    Raises
    ------
    UnknownBackendError
        If it is not registered.
    BackendUnavailableError
        If it cannot be used on this machine.

    Examples
    --------
    >>> load_backend("numpy")
    <nnlib backend 'numpy'>
    """
    if isinstance(name, Backend):
        return name
    if name == "auto":
        return _load_auto()
    backend = _loaded.get(name)
    if backend is not None:
        return backend
    root, device = _parse(name)
    canonical = f"{root}:{device}" if device else root
    with registering:
        backend = _loaded.get(canonical)
        if backend is None:
            backend = _registrations[root].factory(device)
            copyreg.pickle(type(backend), _by_name)
            _loaded[canonical] = backend
            shared = backend.array_type in _by_array_type
            _by_array_type[backend.array_type] = None if shared else backend
        _loaded[name] = backend
    return backend


def _by_name(backend: Backend) -> tuple[Callable[[str], Backend], tuple[str]]:
    """Pickle a backend as its name: a process has one backend of each."""
    return load_backend, (backend.name,)


def _parse(name: str) -> tuple[str, int]:
    _read_entry_points()
    root, _, device = name.partition(":")
    if root not in _registrations or (device and not device.isdecimal()):
        known = [*_registrations, "cupy:N", "auto"]
        guess = ["cupy"] if root in ("cuda", "gpu") else get_close_matches(name, known, n=1)
        hint = f" Did you mean {guess[0]!r}?" if guess else ""
        raise UnknownBackendError(
            f"a backend must be one of {', '.join(map(repr, known))}. Received: {name!r}.{hint}"
        )
    return root, int(device or 0)


def _read_entry_points() -> None:
    global _entry_points_read
    if _entry_points_read:
        return
    with registering:
        if _entry_points_read is False:  # None: called again by a package that is being read
            _entry_points_read = None
            try:
                _register_packages()
            finally:
                _entry_points_read = True


def _register_packages() -> None:
    from importlib.metadata import entry_points  # slow to import, seldom needed

    for point in entry_points(group="nnlib.backends"):
        if point.name in _registrations:
            continue
        try:
            point.load()(register_backend)
        except Exception as error:  # noqa: BLE001 - another package's fault must not stop this one
            warnings.warn(
                f"the backend {point.name!r} of {point.value!r} could not be registered: {error!r}",
                RuntimeWarning,
                stacklevel=3,
            )


def _load_auto() -> Backend:
    """Probe CuPy once per process; on failure use NumPy and print the reason."""
    with registering:
        backend = _loaded.get("auto")
        if backend is None:
            try:
                backend = load_backend("cupy")
            except BackendUnavailableError as error:
                print(f"nnlib: using numpy, because {error.detail}", file=sys.stderr)
                backend = load_backend("numpy")
            _loaded["auto"] = backend
    return backend


def set_backend(name: str | Backend) -> None:
    """Choose where new arrays go, for the whole process.

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"auto"``, or another registered name.

    Raises
    ------
    UnknownBackendError, BackendUnavailableError
        See `load_backend`.

    Examples
    --------
    >>> set_backend("numpy")
    >>> get_backend().name
    'numpy'
    """
    global _default
    with registering:
        _default = load_backend(name)


@contextmanager
def use_backend(name: str | Backend) -> Iterator[Backend]:
    """Choose where new arrays go inside a ``with`` block (this thread or task only).

    Parameters
    ----------
    name : str or Backend
        ``"numpy"``, ``"cupy"``, ``"cupy:1"``, ``"auto"``, or another registered name.

    Raises
    ------
    UnknownBackendError, BackendUnavailableError
        See `load_backend`.

    Examples
    --------
    >>> with use_backend("numpy") as backend:
    ...     backend.name
    'numpy'
    """
    backend = load_backend(name)
    token = _override.set(backend)
    try:
        yield backend
    finally:
        _override.reset(token)


def get_backend() -> Backend:
    """Return the backend that a new array would go to now.

    Raises
    ------
    UnknownBackendError, BackendUnavailableError
        If ``NNLIB_BACKEND`` names no backend, or one that cannot be used here.

    Examples
    --------
    >>> with use_backend("numpy"):
    ...     get_backend()
    <nnlib backend 'numpy'>
    """
    return _override.get() or _default or _by_environment()


def _by_environment() -> Backend:
    with registering:
        if _default is None:  # else another thread has chosen one
            name = BACKEND.get()
            try:
                set_backend(name or "numpy")
            except UnknownBackendError as error:
                raise UnknownBackendError(f"{BACKEND.name}={name}: {error}") from None
        assert _default is not None
        return _default


def available_backends() -> dict[str, BackendUnavailableError | None]:
    """Try every known backend: name → ``None`` if it works here, or the error that says why not.

    Examples
    --------
    >>> available_backends()["numpy"] is None
    True
    """
    result: dict[str, BackendUnavailableError | None] = {}
    for name in registered_backends():
        try:
            load_backend(name)
            result[name] = None
        except BackendUnavailableError as error:
            result[name] = error
    return result


def backend_info(name: str | Backend | None = None) -> dict[str, Any]:
    """Describe a backend's device: kind, name, cores, memory, libraries.

    Parameters
    ----------
    name : str or Backend, optional
        The current backend if not given.

    Raises
    ------
    UnknownBackendError, BackendUnavailableError
        See `load_backend`.

    Examples
    --------
    >>> backend_info("numpy")["kind"]
    'cpu'
    """
    backend = get_backend() if name is None else load_backend(name)
    return {"backend": backend.name, **asdict(backend.device_info())}


def owner_of(array: Any) -> Backend | None:
    """Return the backend where an array lives, or ``None`` for anything else."""
    _read_entry_points()
    root = type(array).__module__.partition(".")[0]
    for name, registration in list(_registrations.items()):
        if registration.array_module == root:
            device = getattr(getattr(array, "device", None), "id", 0)
            backend = load_backend(f"{name}:{device}" if device else name)
            if backend.owns(array):
                return backend
    return None


def backend_of(array: Array) -> Backend:
    """Return the backend where an array lives.

    Raises
    ------
    BackendMismatchError
        If no known backend has such arrays.

    Examples
    --------
    >>> import numpy as np
    >>> backend_of(np.zeros(3))
    <nnlib backend 'numpy'>
    """
    backend = owner_of(array)
    if backend is None:
        raise BackendMismatchError(
            f"an array must be of a known backend ({', '.join(_registrations)}). "
            f"Received: {type(array).__module__}.{type(array).__qualname__}"
        )
    return backend


def backend_for(*arrays: Array) -> Backend:
    """Return the backend of the first argument that is an array, else the current one."""
    for array in arrays:
        backend = _by_array_type.get(type(array))
        if backend is not None:
            return backend
        if type(array) in _by_array_type:  # of one of several devices
            return backend_of(array)
    roots = {type(array).__module__.partition(".")[0] for array in arrays}  # NumPy's own scalars
    for name, registration in list(_registrations.items()):
        if registration.array_module in roots:
            return load_backend(name)
    return get_backend()
