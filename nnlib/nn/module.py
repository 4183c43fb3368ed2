"""The base class of layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from nnlib.autograd import Tensor, no_grad
from nnlib.errors import NnlibError, StateError, describe
from nnlib.nn.parameter import Parameter
from nnlib_backends import Backend, load_backend

__all__ = ["Module"]

M = TypeVar("M", bound="Module")


class Module:
    """A function with parameters: subclass it, assign layers in ``__init__``, write ``forward``.

    Parameters, buffers (tensors that are part of the state but not learned) and other modules are
    found by their attribute names, which make up the paths in `state_dict`.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn
    >>> class Double(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Double()(nnlib.tensor([3.0]))
    tensor([6.], requires_grad=True)
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._buffers: dict[str, Tensor] = {}
        self._modules: dict[str, Module] = {}
        self._hooks: list[Callable[[Module, tuple[Any, ...], Any], None]] = []
        self.training = True

    def forward(self, *args: Any, **options: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise TypeError(f"{type(self).__name__} must define forward()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Compute `forward`, then call the hooks; errors learn the layer's path."""
        try:
            result = self.forward(*args, **options)
        except NnlibError as error:
            _note_path(error, self)
            raise
        for hook in self._hooks:
            hook(self, args, result)
        return result

    def register_forward_hook(
        self, hook: Callable[[Module, tuple[Any, ...], Any], None]
    ) -> Callable[[], None]:
        """Call ``hook(module, inputs, output)`` after every forward pass.

        Returns
        -------
        callable
            Call it to remove the hook.
        """
        self._hooks.append(hook)
        return lambda: self._hooks.remove(hook)

    # Attributes ------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" in self.__dict__:
            store = self._store_for(name, value)
            for other in (self._parameters, self._buffers, self._modules):
                if other is not store:
                    other.pop(name, None)
            if store is not None:
                store[name] = value  # a name keeps its place, so a replaced layer keeps its turn
        elif isinstance(value, Parameter | Module):
            raise StateError(f"{type(self).__name__} must call super().__init__() first")
        object.__setattr__(self, name, value)

    def _store_for(self, name: str, value: Any) -> dict[str, Any] | None:
        if isinstance(value, Parameter):
            return self._parameters
        if isinstance(value, Module):
            return self._modules
        return self._buffers if name in self._buffers and isinstance(value, Tensor) else None

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._buffers, self._modules):
            store.pop(name, None)
        object.__delattr__(self, name)

    def register_buffer(self, name: str, value: Tensor) -> None:
        """Add a tensor to the state that is not learned, such as a running mean."""
        object.__setattr__(self, name, value)
        self._buffers[name] = value

    # What is inside --------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their names."""
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        yield from self._modules.values()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield the module (named ``prefix``) and all inside it, each once, with dotted paths."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            children = [(_join(path, name), child) for name, child in module._modules.items()]
            stack.extend(reversed(children))

    def modules(self) -> Iterator[Module]:
        """Yield the module and all inside it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted paths; a shared one once, under its first path."""
        yield from self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted paths."""
        yield from self._named("_buffers")

    def buffers(self) -> Iterator[Tensor]:
        """All buffers."""
        for _, buffer in self.named_buffers():
            yield buffer

    def _named(self, store: str) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in getattr(module, store).items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield _join(path, name), value

    # Changing all at once --------------------------------------------------------------------

    def apply(self: M, function: Callable[[Module], None]) -> M:
        """Call a function on this module and all inside it, innermost first; return self."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Switch to training behaviour (dropout, batch statistics); return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to inference behaviour; return self."""
        return self.train(False)

    def requires_grad_(self: M, value: bool = True) -> M:
        """Freeze (False) or unfreeze all parameters; return self."""
        for parameter in self.parameters():
            parameter.requires_grad = value
        return self

    def zero_grad(self) -> None:
        """Drop the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: M, target: str | Backend) -> M:
        """Move parameters and buffers to a backend, in place; return self.

        The parameters stay the same objects, so an optimizer that holds them goes on working if it
        has no state yet; create it after moving otherwise.

        Examples
        --------
        >>> from nnlib import nn
        >>> nn.Linear(2, 1).to("numpy")
        Linear(in_features=2, out_features=1, bias=True)
        """
        backend = load_backend(target)
        for value in [*self.parameters(), *self.buffers()]:
            if value.backend is not backend:
                trainable = value.requires_grad
                value.requires_grad = False
                value.data, value.backend = backend.asarray(value.data), backend
                value.requires_grad = trainable
        return self

    # State -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by path: detached tensors that share the model's memory."""
        return {name: value.detach() for name, value in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def load_state_dict(
        self, state: Mapping[str, Any], *, strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copy values into the parameters and buffers.

        Parameters
        ----------
        state : mapping
            Path → tensor or array, of either backend.
        strict : bool
            Refuse missing and unexpected names.

        Returns
        -------
        (missing, unexpected) : lists of str

        Raises
        ------
        StateError
            If names (when strict) or shapes do not match.  Nothing was changed then.
        """
        own = dict(self._state())
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        problems = []
        if strict and missing:
            problems.append(f"missing: {', '.join(missing)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        problems += [
            f"{name} must be numbers of shape {value.shape}, received {_kind(state[name])}"
            for name, value in own.items()
            if name in state and not _fits(state[name], value)
        ]
        if problems:
            raise StateError(f"the state does not fit {type(self).__name__}. {'; '.join(problems)}")
        with no_grad():
            for name, value in own.items():
                if name in state:
                    value.copy_(state[name])
        return missing, unexpected

    # In words --------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Options to show in ``repr``, such as ``"in_features=2"``."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._modules.items()
        ]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}({self.extra_repr()}\n" + "\n".join(lines) + "\n)"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _fits(value: Any, own: Tensor) -> bool:
    """Tell whether an array can be copied into a parameter or buffer."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return False
    return tuple(value.shape) == own.shape and value.dtype.kind in "biuf"


def _kind(value: Any) -> str:
    """Say what an array is, or that something is none."""
    return describe(value) if hasattr(value, "shape") else type(value).__name__


def _note_path(error: NnlibError, module: Module) -> None:
    """Note on an error where in the model it happened; called by every module it passes."""
    if not error.layer:
        error.layer = type(module).__name__
    else:
        names = [path for path, inner in module.named_modules() if inner is error.origin]
        name = names[0] if names else type(error.origin).__name__
        error.layer_path = _join(name, error.layer_path) if error.layer_path else name
    error.origin = module
