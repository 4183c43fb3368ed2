"""`Module`: the base class of layers and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, TypeVar

from nnlib.arguments import Explained, explain_call
from nnlib.autograd import Tensor, no_grad
from nnlib.autograd.hooks import RemovableHandle
from nnlib.errors import DTypeError, NnlibError, OptionError, StateError
from nnlib.nn.hooks import Hook, add_hook, changed_inputs, changed_output, remove_hook
from nnlib.nn.parameter import Parameter
from nnlib.nn.state_dict import LoadReport, compare
from nnlib.tracing import current
from nnlib_backends import Backend, load_backend
from nnlib_backends.base import Array
from nnlib_backends.dtypes import is_floating

__all__ = ["Module"]

M = TypeVar("M", bound="Module")

_HELD = ("_parameters", "_buffers", "_passing", "_modules")


class Module(Explained):
    """A function with parameters: subclass it, assign layers in ``__init__``, write ``forward``.

    Parameters, buffers (tensors that are part of the state but not learned) and other modules are
    found by their attribute names, which make up the paths in `state_dict`.

    A module can be pickled, for instance for another process, and copied with `copy.deepcopy`: with
    parameters, gradients, buffers, hooks and all other attributes.  Objects shared in it are shared
    in the copy; to copy it with its optimizer use one call, ``copy.deepcopy((model, optimizer))``.
    `copy.copy` returns another module with the same parameters.  For weights in a file use
    `nnlib.save`, which needs no pickle.

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
    frozen = False  # whether `train` has no effect: see `nnlib.nn.freeze`

    def __init__(self) -> None:
        self._members = object()  # replaced whenever an attribute changes
        self._parameters: dict[str, Parameter] = {}
        self._buffers: dict[str, Tensor | None] = {}
        self._passing: set[str] = set()  # buffers that are not part of the state
        self._modules: dict[str, Module] = {}
        # these two dicts are replaced, never changed
        self._pre_hooks: dict[object, Hook] = {}
        self._hooks: dict[object, Hook] = {}
        self.training = True

    def forward(self, *args: Any, **options: Any) -> Any:
        """Compute the output; defined by subclasses."""
        raise TypeError(f"{type(self).__name__} must define forward()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Compute `forward` and call the hooks; add the layer's path to errors."""
        tracing = current()
        if tracing is not None:
            tracing.note_module(self)
        try:
            if self._pre_hooks:
                args, options = changed_inputs(self, args, options)
            result = self.forward(*args, **options)
            if self._hooks:
                result = changed_output(self, args, options, result)
        except NnlibError as error:
            _note_path(error, self)
            raise
        except TypeError as error:
            explain_call(error, type(self).__name__, self.forward, args, options)
            raise
        return result

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, inputs)`` before every forward pass; it may return other inputs.

        Parameters
        ----------
        hook : callable
            ``inputs`` is the tuple of positional arguments.  Its result replaces them: a tuple, or
            a single value for the only argument; ``None`` keeps them.
        prepend : bool
            Call it before the hooks that are there already, not after them.
        with_kwargs : bool
            Call ``hook(module, args, kwargs)``, which may return ``(args, kwargs)``.

        Returns
        -------
        RemovableHandle
            Removes the hook: ``handle.remove()``, or a ``with`` block.

        Examples
        --------
        >>> import nnlib
        >>> from nnlib import nn
        >>> layer = nn.ReLU()
        >>> with layer.register_forward_pre_hook(lambda module, inputs: -inputs[0]):
        ...     print(layer(nnlib.tensor([-1.0, 2.0])))
        tensor([1., 0.])
        """
        return add_hook(self, "_pre_hooks", hook, with_kwargs, prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, inputs, output)`` after every forward pass.

        Parameters
        ----------
        hook : callable
            ``inputs`` is the tuple of positional arguments.  Its result replaces the output;
            ``None`` keeps it.
        prepend : bool
            Call it before the hooks that are there already, not after them.
        with_kwargs : bool
            Call ``hook(module, args, kwargs, output)``.

        Returns
        -------
        RemovableHandle
            Removes the hook: ``handle.remove()``, or a ``with`` block.

        Examples
        --------
        >>> import nnlib
        >>> from nnlib import nn
        >>> layer = nn.ReLU()
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: 10 * output)
        >>> layer(nnlib.tensor([-1.0, 2.0]))
        tensor([ 0., 20.])
        >>> handle.remove()
        >>> layer(nnlib.tensor([-1.0, 2.0]))
        tensor([0., 2.])
        """
        return add_hook(self, "_hooks", hook, with_kwargs, prepend)

    def _remove_hook(self, key: object) -> None:
        remove_hook(self, key)

    def __copy__(self: M) -> M:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        for name in _HELD:  # a name is in one of the stores only
            twin.__dict__[name] = self.__dict__[name].copy()
        twin._note_members()
        return twin

    # Attributes ------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" in self.__dict__:
            store = self._store_for(name, value)
            for other in (self._parameters, self._buffers, self._modules):
                if other is not store and name in other:
                    del other[name]
            if store is not None:
                store[name] = value  # a replaced layer keeps its position
        elif isinstance(value, Parameter | Module):
            raise StateError(f"{type(self).__name__} must call super().__init__() first")
        changes = self.__dict__.get(name, self) is not value
        object.__setattr__(self, name, value)
        if changes:
            self._note_members()  # last, so that no thread sees the mark without the value

    def _store_for(self, name: str, value: Any) -> dict[str, Any] | None:
        if isinstance(value, Parameter | Module):
            _check_name(self, name)
            return self._parameters if isinstance(value, Parameter) else self._modules
        stays = name in self._buffers and (value is None or isinstance(value, Tensor))
        return self._buffers if stays else None

    def __delattr__(self, name: str) -> None:
        for store in (self._parameters, self._buffers, self._modules):
            store.pop(name, None)
        object.__delattr__(self, name)
        self._note_members()

    def _note_members(self) -> None:
        """Mark that an attribute has changed: the guards of traces compare the mark."""
        object.__setattr__(self, "_members", object())

    def register_buffer(self, name: str, value: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is not learned and moves with the module, such as a running mean.

        Parameters
        ----------
        name : str
        value : Tensor or None
            None reserves the name for a tensor that is assigned later.
        persistent : bool
            Whether it is part of `state_dict`.

        Raises
        ------
        DTypeError, OptionError
            If it is no tensor, or the name is invalid.
        """
        if value is not None and not isinstance(value, Tensor):
            raise DTypeError(f"a buffer must be a tensor. Received: {type(value).__name__}")
        _check_name(self, name)
        self._buffers[name] = None
        setattr(self, name, value)
        (self._passing.discard if persistent else self._passing.add)(name)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Assign a parameter by name."""
        setattr(self, name, value)

    def add_module(self, name: str, module: Module | None) -> None:
        """Assign a module by name."""
        setattr(self, name, module)

    # Contents --------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules with their names."""
        yield from self._modules.items()

    def children(self) -> Iterator[Module]:
        """Direct submodules."""
        yield from self._modules.values()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield the module (named ``prefix``) and all submodules, each once, with dotted paths."""
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
        """Yield the module and all submodules, each once."""
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
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    yield _join(path, name), value

    def get_submodule(self, path: str) -> Module:
        """Return the module at a dotted path, such as ``"features.0"``; itself for ``""``.

        Raises
        ------
        StateError
            If there is none.
        """
        module = self
        for name in path.split(".") if path else []:
            if name not in module._modules:
                raise StateError(
                    f"{path!r} must lead to a module. Received: {name!r}, while "
                    f"{type(module).__name__} has {', '.join(module._modules) or 'none'}"
                )
            module = module._modules[name]
        return module

    # Recursive changes -----------------------------------------------------------------------

    def apply(self: M, function: Callable[[Module], None]) -> M:
        """Call a function on this module and all submodules, innermost first; return self."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Switch to training behaviour (dropout, batch statistics); return self.

        Batch normalisation frozen by `nnlib.nn.freeze` does not change.
        """
        for module in self.modules():
            module.training = mode and not module.frozen
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
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def to(self: M, target: str | Backend) -> M:
        """Move parameters and buffers to a backend, in place; return self.

        The parameters stay the same objects, so their optimizer still works (its next step moves
        its state).  Gradients are dropped.

        Examples
        --------
        >>> from nnlib import nn
        >>> nn.Linear(2, 1).to("numpy")
        Linear(in_features=2, out_features=1, bias=True)
        """
        backend = load_backend(target)
        for value in [*self.parameters(), *self.buffers()]:
            if value.backend is not backend:
                _put(value, backend.asarray(value.data), backend)
        return self

    def astype(self: M, dtype: Any) -> M:
        """Convert floating-point parameters and buffers to another dtype, in place; return self.

        Make the optimizer afterwards.  Gradients are dropped.

        Examples
        --------
        >>> from nnlib import nn
        >>> nn.Linear(2, 1).astype("float64").weight.dtype
        dtype('float64')
        """
        for value in [*self.parameters(), *self.buffers()]:
            if is_floating(value.dtype):
                _put(value, value.data.astype(dtype), value.backend)
        return self

    # State -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by path: detached tensors that share the model's memory."""
        return {name: value.detach() for name, value in self._state()}

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        passing = {id(m._buffers.get(name)) for m in self.modules() for name in m._passing}
        yield from ((name, b) for name, b in self.named_buffers() if id(b) not in passing)

    def load_state_dict(
        self, state: Mapping[str, Any], *, strict: bool = True, skip_mismatch: bool = False
    ) -> LoadReport:
        """Copy values into the parameters and buffers.

        Parameters
        ----------
        state : mapping
            Path → tensor or array, of either backend or of another library, such as the state dict
            of a PyTorch module with the same names and shapes.
        strict : bool
            Refuse missing and unexpected names.
        skip_mismatch : bool
            Skip values of another shape, such as a head for other classes, instead of raising.

        Returns
        -------
        LoadReport
            Names of loaded and of other values.

        Raises
        ------
        StateError
            If names (when strict), shapes or kinds of dtypes (unless skipped) do not match; a
            float is never cut to an integer.  Also if nothing matches, whatever the options.
            The module is unchanged then.

        Examples
        --------
        >>> from nnlib import nn
        >>> trained = nn.Sequential({"features": nn.Linear(4, 3), "head": nn.Linear(3, 1000)})
        >>> model = nn.Sequential({"features": nn.Linear(4, 3), "head": nn.Linear(3, 10)})
        >>> model.load_state_dict(trained.state_dict(), skip_mismatch=True)
        2 of 4 values of Sequential were loaded
          mismatched, left as they were (2):
            head.weight must be floating-point numbers of shape (10, 3), received float32 (1000, 3)
            head.bias must be floating-point numbers of shape (10,), received float32 (1000,)
        """
        own = dict(self._state())
        report = compare(type(self).__name__, own, state)
        report.check(strict, skip_mismatch)
        with no_grad():
            for name in report.matched:
                own[name].copy_(state[name])
        return report

    # Text ------------------------------------------------------------------------------------

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


def _put(value: Tensor, array: Array, backend: Backend) -> None:
    """Replace the array of a parameter or buffer; its hooks stay."""
    value.data, value.backend = array, backend
    if value.node is not None:
        value.node.rebase(array, backend)


def _check_name(module: Module, name: str) -> None:
    """Refuse a name that would make a path ambiguous, or hide a method."""
    hides = isinstance(getattr(type(module), name, None), FunctionType | property)
    if not name or "." in name or hides:
        raise OptionError(
            "parameters, buffers and modules must have a name without dots that is not that of a "
            f"method of {type(module).__name__}. Received: {name!r}"
        )


def _note_path(error: NnlibError, module: Module) -> None:
    """Prepend the name of a module to the path noted on an error."""
    if not error.layer:
        error.layer = type(module).__name__
    else:
        names = [path for path, inner in module.named_modules() if inner is error.origin]
        name = names[0] if names else type(error.origin).__name__
        error.layer_path = _join(name, error.layer_path) if error.layer_path else name
    error.origin = module
