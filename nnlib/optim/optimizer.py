"""`Optimizer`: the base class, with parameter groups, state and the step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from operator import itemgetter
from typing import Any, ClassVar, NamedTuple, NoReturn

from nnlib import memory
from nnlib.arguments import Explained
from nnlib.autograd import Tensor
from nnlib.errors import (
    BackendMismatchError,
    DTypeError,
    describe,
)
from nnlib.optim.flat import Flat, Run, flattened
from nnlib.optim.groups import (
    Snapshot,
    as_groups,
    check_names,
    checked_group,
    edited_group,
    is_unchanged,
    snapshot,
)
from nnlib.optim.options import Range
from nnlib.optim.state_dict import checked_state, copied
from nnlib.optim.update import UpdateRule
from nnlib.tracing import Guards, current, perform, scalar_inputs
from nnlib_backends.base import Array

__all__ = ["Optimizer"]


class Checked(NamedTuple):
    """The checked options of a group, and the state arrays and flags for them."""

    given: Any  #: number and values of the options before the check
    options: dict[str, Any]
    initial: dict[str, float]  #: needed state arrays → initial value
    names: tuple[str | None, ...]  #: names of all state arrays; None for one that is not needed
    flags: dict[str, bool]


class Optimizer(Explained):
    """Base class of optimizers, which updates the parameters that have a gradient.

    A subclass states its update rule, the names of the state arrays, and the ranges of its
    options; see ``nnlib/optim/sgd.py``.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters; or groups, each a dict with ``"params"`` and options that differ from the
        optimizer's.  Parameters may be on different backends: each is updated on its own, and its
        state moves with it.
    defaults : dict
        Options by name.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all their options.  Options, groups and their lists of parameters may be
        changed between steps, as schedules change ``"lr"``; they are checked at the next step.
    state : dict
        Parameter → step count and state tensors.  The next step deletes the state of a parameter
        that was removed from its group.

    Raises
    ------
    OptionError
        If there is no parameter, one is given twice, an option is unknown or outside its range.
    DTypeError
        If a parameter is not a floating-point tensor.
    GradientError
        If a parameter is the result of an operation.

    Notes
    -----
    An optimizer holds tensors, not the model.  If a layer of the model is replaced afterwards,
    ``model.head = nn.Linear(4, 3)``, it keeps the parameters of the old layer, as in PyTorch: make
    the optimizer after that, or change `param_groups`.  (`nnlib.Trainer` raises an error.)

    An optimizer can be pickled and copied with `copy.deepcopy`.  Copied alone, it has copies of its
    parameters; copied with the model, ``copy.deepcopy((model, optimizer))``, it optimizes the
    model's copy.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import optim
    >>> w, b = nnlib.ones(2, requires_grad=True), nnlib.zeros(1, requires_grad=True)
    >>> optimizer = optim.SGD([{"params": [w], "weight_decay": 0.1}, {"params": [b]}], lr=0.5)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.1, 0.0]
    """

    rule: ClassVar[UpdateRule]
    slots: ClassVar[tuple[str, ...]]  # names of the state arrays, in the rule's order
    ranges: ClassVar[dict[str, Range]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = self.checked(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._reset_flats()
        for group in as_groups(params):
            self.add_param_group(group)

    # For subclasses --------------------------------------------------------------------------

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Check the ranges of the options; return them with numbers as Python floats."""
        result = dict(options)
        for name, allowed in self.ranges.items():
            value = result[name]
            if isinstance(value, tuple | list):
                result[name] = tuple(allowed.check(name, item) for item in value)
            else:
                result[name] = allowed.check(name, value)
        return result

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return the state arrays that these options need, each with its initial value."""
        raise NotImplementedError  # abstract

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Return the flags of the rule."""
        raise NotImplementedError  # abstract

    def scalars(self, options: dict[str, Any], step: int) -> dict[str, float]:
        """Return the rule's scalars for a parameter's step number ``step`` (from 1)."""
        raise NotImplementedError  # abstract

    # Groups ----------------------------------------------------------------------------------

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add parameters with their own options, for example unfrozen layers.

        Parameters
        ----------
        group : dict
            ``"params"`` (a tensor or an iterable of tensors) and options.
        """
        self._sync_groups()
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        checked = checked_group(self, group, taken)
        self.param_groups.append(checked)
        self._snapshot += snapshot([checked])
        self._flats.append(flattened(checked["params"]))

    def _reset_flats(self) -> None:
        self._flats: list[list[Flat]] = []
        # the groups for which the flat buffers were made
        self._snapshot: Snapshot = []
        self._checked: dict[int, Checked] = {}
        # the values of a group's options; an optimizer may have none
        self._option_values = itemgetter(*self.defaults) if self.defaults else len

    def _sync_groups(self) -> None:
        """Check groups that were edited by hand; delete the state of removed parameters."""
        if is_unchanged(self.param_groups, self._snapshot):
            return
        taken: set[int] = set()
        groups = [edited_group(self, group, taken) for group in self.param_groups]
        for i, (group, complete) in enumerate(zip(self.param_groups, groups, strict=True)):
            if isinstance(group, dict):
                group.update(complete)  # keep the dict, which other code may hold
            else:
                self.param_groups[i] = complete
        self._reset_flats()
        self._snapshot = snapshot(self.param_groups)
        self._flats = [flattened(group["params"]) for group in self.param_groups]
        self.state = {p: entries for p, entries in self.state.items() if id(p) in taken}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the flat buffers, which a copy makes anew."""
        return {k: v for k, v in vars(self).items() if k not in ("_flats", "_snapshot", "_checked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset_flats()

    # Training --------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        self._sync_groups()
        tracing = current()
        for group in self.param_groups:
            for p in group["params"]:
                if tracing is not None:
                    p.grad = None
                elif p.node is not None:
                    p.node.grad = None

    def step(self, *, skip: Tensor | None = None) -> None:
        """Update every parameter that has a gradient, in place and without waiting for the device.

        Parameters
        ----------
        skip : Tensor, (), optional
            If it is not 0, parameters and state are not changed, see `GradScaler`.

        Raises
        ------
        OptionError
            If an option was set to a value outside its range, or a group is invalid.
        BackendMismatchError, DTypeError
            If a gradient has another backend or dtype than its parameter.
        """
        self._flatten()
        tracing = current()
        if tracing is not None:
            self._add_guards(tracing)
        for i, flats in enumerate(self._flats):
            options = self._options(i)
            for flat in flats:
                try:
                    self._step_flat(i, options, flat, None if skip is None else skip.data)
                except MemoryError as error:
                    what = f"{type(self).__name__}, for its state and temporary arrays,"
                    raise memory.out_of_memory(error, flat.backend, what) from None

    def _flatten(self) -> None:
        """Move the parameters into flat buffers, unless they are there already."""
        self._sync_groups()
        if not all(map(Flat.is_intact, chain.from_iterable(self._flats))):
            self._flats = [flattened(group["params"]) for group in self.param_groups]
        for group in self._flats:
            for flat in group:
                flat.set_grad_buffers()

    def _add_guards(self, tracing: Guards) -> None:
        """Guard a traced step by the parameters, the state, and the options' structure."""
        flats, state = self._flats, self.state
        for group in self.param_groups:
            for p in group["params"]:
                tracing.note_tensor(p)
        structures = [self._structure(i) for i in range(len(flats))]

        def unchanged() -> bool:
            if self._flats is not flats or self.state is not state:
                return False
            if not is_unchanged(self.param_groups, self._snapshot):
                return False
            for i, structure in enumerate(structures):  # noqa: SIM110 - faster at every replay
                if self._structure(i) != structure:
                    return False
            return True

        tracing.note_guard(unchanged)

    def _options(self, i: int) -> Checked:
        """Return the checked options of group ``i``, from a cache while none has changed."""
        group = self.param_groups[i]
        try:
            given = (len(group), self._option_values(group))
        except KeyError:
            check_names(self, group)
            raise
        checked = self._checked.get(i)
        if checked is None or checked.given != given:
            check_names(self, group)
            options = self.checked(group)
            initial, flags = self.initial_state(options), self.flags(options)
            names = tuple(name if name in initial else None for name in self.slots)
            checked = self._checked[i] = Checked(given, options, initial, names, flags)
        return checked

    def _structure(self, i: int) -> Any:
        """Return the names of the state arrays and the flags, which are constants of a trace."""
        options = self._options(i)
        return options.names, options.flags

    def _step_flat(self, i: int, options: Checked, flat: Flat, skip: Array | None) -> None:
        for first, last in self._runs(flat, options.initial):
            run = flat.runs.get((first, last))
            if run is None:
                scalars = flat.new_scalars(len(self.rule.scalars))
                run = flat.runs[first, last] = Run(i, flat.params[first : last + 1], scalars)
            arrays = flat.part(first, last, options.names)
            scalars = scalar_inputs(run.scalars, self._advance, run, dtype=flat.state_dtype)
            perform(self.rule, flat.backend, *arrays, scalars=scalars, skip=skip, **options.flags)
            tracing = current()
            for p in run.params:
                p.version_cell[0] += 1
                if tracing is not None:
                    tracing.note_change(p.version_cell)

    def _runs(self, flat: Flat, initial: dict[str, float]) -> list[tuple[int, int]]:
        """Return (first, last) of each run of neighbouring parameters with the same step count."""
        runs: list[tuple[int, int]] = []
        steps = -1
        slots = None  # without a gradient no state is made
        for i, p in enumerate(flat.params):
            grad = p.grad
            if grad is None:
                continue
            if slots is None:
                slots = [(name, value, flat.state(name)) for name, value in initial.items()]
            if grad.backend is not p.backend or grad.dtype != p.dtype:
                _refuse_gradient(p, grad)
            if flat.moved and grad.data is not flat.grad_buffers[i]:
                flat.store_gradient(i, grad)
            state = self.state.setdefault(p, {"step": 0})
            for name, value, arrays in slots:
                tensor = state.get(name)
                if tensor is None or tensor.data is not arrays[i]:
                    self._store_state(p, name, arrays[i], value)
            if runs and runs[-1][1] == i - 1 and state["step"] == steps:
                runs[-1] = (runs[-1][0], i)
            else:
                runs.append((i, i))
                steps = state["step"]
        return runs

    def _store_state(self, p: Tensor, name: str, array: Array, value: float) -> None:
        """Move a state tensor into the flat buffer; a new one is filled with ``value``."""
        state = self.state[p]
        # existing state was loaded, or its parameter was moved
        array[...] = copied(state[name], p).data if name in state else value
        state[name] = Tensor(array, p.backend)

    def _advance(self, run: Run) -> list[float]:
        """Increase the step count of a run; return the scalars of its update."""
        for p in run.params:
            self.state[p]["step"] += 1
        options = self._options(run.group).options
        scalars = self.scalars(options, self.state[run.params[0]]["step"])
        return list(map(scalars.__getitem__, self.rule.scalars))

    # State -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state.

        Returns
        -------
        dict
            ``"param_groups"``: the options of each group, with indices instead of parameters;
            ``"state"``: index → step count and tensors, which share the optimizer's memory.
        """
        self._sync_groups()
        groups: list[dict[str, Any]] = []
        indices: dict[Tensor, int] = {}
        for group in self.param_groups:
            params = [indices.setdefault(p, len(indices)) for p in group["params"]]
            groups.append({**group, "params": params})
        state = {indices[p]: dict(entries) for p, entries in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state_dict`, for the same parameters in the same order.

        Parameters
        ----------
        state : mapping
            With tensors or arrays of any backend, which are copied.

        Raises
        ------
        StateError
            If groups, names or shapes do not match.  Then nothing is changed.
        OptionError
            If an option is outside its range.  Then nothing is changed.
        """
        self._sync_groups()
        groups, entries = checked_state(self, state)
        for group, options in zip(self.param_groups, groups, strict=True):
            for name in ("initial_lr", "scheduled_lr"):  # of a schedule that is not in the state
                group.pop(name, None)
            group.update(options)
        self.state = {
            p: {name: v if name == "step" else copied(v, p) for name, v in own.items()}
            for p, own in entries.items()
        }

    def __repr__(self) -> str:
        lines, hidden = [], ("params", "scheduled_lr")
        for group in self.param_groups:
            options = ", ".join(f"{k}={v!r}" for k, v in group.items() if k not in hidden)
            lines.append(f"  {len(group['params'])} parameters: {options}")
        return f"{type(self).__name__}(\n" + "\n".join(lines) + "\n)"


def _refuse_gradient(p: Tensor, grad: Tensor) -> NoReturn:
    if grad.backend is not p.backend:
        raise BackendMismatchError(
            "a gradient must be on its parameter's backend. Received: "
            f"{grad.backend.name!r} for a parameter on {p.backend.name!r}"
        )
    raise DTypeError(f"a gradient must have its parameter's dtype. Received: {describe(grad, p)}")


def _held(optimizer: Optimizer) -> memory.Held:
    for flats in optimizer._flats:
        for flat in flats:
            for whole in flat.state_arrays():
                yield "state", flat.backend, whole
    for entries in optimizer.state.values():
        for value in entries.values():
            if isinstance(value, Tensor):
                yield "state", value.backend, value.data


memory.holders[Optimizer] = _held
