"""Hooks of modules: functions called before and after ``forward``, which may change its values.

A module holds them in two dicts, which are replaced and never changed: so a pass calls the hooks
that existed when it began.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from nnlib.autograd.hooks import RemovableHandle
from nnlib.errors import DTypeError, OptionError, describe

if TYPE_CHECKING:
    from nnlib.nn.module import Module

__all__ = ["Hook", "add_hook", "changed_inputs", "changed_output", "remove_hook"]

Hook: TypeAlias = tuple[Callable[..., Any], bool]
"""A function, and whether it has the keyword arguments as argument, too."""

_STORES = ("_pre_hooks", "_hooks")


def add_hook(
    module: Module, store: str, hook: Callable[..., Any], with_kwargs: bool, prepend: bool
) -> RemovableHandle:
    """Add a hook after, or before, the others in a store."""
    if not callable(hook):
        raise DTypeError(f"a hook must be a function. Received: {describe(hook)}")
    key, old = object(), getattr(module, store)
    new: dict[object, Hook] = {key: (hook, with_kwargs)}
    _set(module, store, {**new, **old} if prepend else {**old, **new})
    return RemovableHandle(module, key)


def remove_hook(module: Module, key: object) -> None:
    """Remove a hook, if it is there."""
    for store in _STORES:
        old = getattr(module, store)
        if key in old:
            _set(module, store, {k: hook for k, hook in old.items() if k is not key})


def _set(module: Module, store: str, hooks: dict[object, Hook]) -> None:
    object.__setattr__(module, store, hooks)
    module._note_members()  # a trace contains the hooks


def changed_inputs(
    module: Module, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call the hooks before ``forward``; return its arguments."""
    for hook, with_kwargs in module._pre_hooks.values():
        if not with_kwargs:
            replacement = hook(module, args)
            if replacement is not None:
                args = replacement if isinstance(replacement, tuple) else (replacement,)
            continue
        both = hook(module, args, options)
        if both is None:
            continue
        if not (isinstance(both, tuple) and list(map(type, both)) == [tuple, dict]):
            raise OptionError(
                "a hook with_kwargs must return None or (args, kwargs), a tuple and a dict. "
                f"Received: {describe(both)}"
            )
        args, options = both
    return args, options


def changed_output(
    module: Module, args: tuple[Any, ...], options: dict[str, Any], output: Any
) -> Any:
    """Call the hooks after ``forward``; return its output."""
    for hook, with_kwargs in module._hooks.values():
        given = (args, options) if with_kwargs else (args,)
        replacement = hook(module, *given, output)
        if replacement is not None:
            output = replacement
    return output
