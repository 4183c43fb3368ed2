"""What all optimizers share: groups of parameters, their state, and the walk over them."""

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
    Known,
    are_known,
    as_groups,
    check_names,
    checked_group,
    edited_group,
    known,
)
from nnlib.optim.options import Range
from nnlib.optim.state_dict import checked_state, copied
from nnlib.optim.update import UpdateRule
from nnlib.tracing import Guards, current, perform, repeated, scalar_inputs
from nnlib_backends.base import Array

__all__ = ["Optimizer"]


class Checked(NamedTuple):
    """The options of a group as they were checked, and what follows from them."""

    given: Any  #: number and values of the options
    options: dict[str, Any]
    initial: dict[str, float]  #: the state arrays that are needed, with the value that fills each
    names: tuple[str | None, ...]  #: of all state arrays; None for one that is not needed
    flags: dict[str, bool]


class Optimizer(Explained):
    """Base class: keeps groups of parameters and changes those that have a gradient.

    A subclass states its update rule, the names of the state arrays, and the ranges of its
    options; see ``nnlib/optim/sgd.py``.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        The parameters; or groups, each a dict with ``"params"`` and any options that differ from
        the optimizer's own.  Parameters may live on different backends: each is updated where it
        is, and its state follows when it is moved.
    defaults : dict
        Options by name.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all their options.  Options may be changed between steps, as schedules do
        with ``"lr"``; so may the groups and their lists of parameters, which are checked then.
    state : dict
        Parameter → its step count and the tensors that belong to it.  Of a parameter that is taken
        out of its group it is forgotten at the next step.

    Raises
    ------
    OptionError
        If there is no parameter, one comes twice, an option is unknown or outside its range.
    DTypeError
        If something is not a floating-point tensor.
    GradientError
        If a parameter is itself the result of a recorded operation.

    Notes
    -----
    An optimizer knows tensors, not the model: where a layer or parameter of the model is replaced
    afterwards, ``model.head = nn.Linear(4, 3)``, it goes on with the old one, as in PyTorch.  Make
    it after that, or change `param_groups`.  (`nnlib.Trainer` notices.)

    An optimizer can be pickled and copied with `copy.deepcopy`.  On its own it gets copies of its
    parameters; copied together with the model, ``copy.deepcopy((model, optimizer))``, it is the
    optimizer of the model's copy.

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
    slots: ClassVar[tuple[str, ...]]  # state arrays, in the order in which the rule takes them
    ranges: ClassVar[dict[str, Range]]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        self.defaults = self.checked(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._forget_places()
        for group in as_groups(params):
            self.add_param_group(group)

    # What a subclass says --------------------------------------------------------------------

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with all numbers in range and of Python's own type."""
        result = dict(options)
        for name, allowed in self.ranges.items():
            value = result[name]
            if isinstance(value, tuple | list):
                result[name] = tuple(allowed.check(name, item) for item in value)
            else:
                result[name] = allowed.check(name, value)
        return result

    def initial_state(self, options: dict[str, Any]) -> dict[str, float]:
        """Return the state arrays that these options need, with the value that fills each."""
        raise NotImplementedError  # abstract

    def flags(self, options: dict[str, Any]) -> dict[str, bool]:
        """Return the rule's switches, which say what it computes."""
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
        self._take_over_groups()
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        checked = checked_group(self, group, taken)
        self.param_groups.append(checked)
        self._known += known([checked])
        self._flats.append(flattened(checked["params"]))

    def _forget_places(self) -> None:
        self._flats: list[list[Flat]] = []
        # each group with the parameters that it had when its flat buffers were made
        self._known: Known = []
        self._checked: dict[int, Checked] = {}
        # the values of a group's options; an optimizer may have none
        self._pick = itemgetter(*self.defaults) if self.defaults else len

    def _take_over_groups(self) -> None:
        """Check groups that were edited by hand, and forget the state of what is gone."""
        if are_known(self.param_groups, self._known):
            return
        taken: set[int] = set()
        groups = [edited_group(self, group, taken) for group in self.param_groups]
        for i, (group, complete) in enumerate(zip(self.param_groups, groups, strict=True)):
            if isinstance(group, dict):
                group.update(complete)  # whoever holds it goes on holding it
            else:
                self.param_groups[i] = complete
        self._forget_places()
        self._known = known(self.param_groups)
        self._flats = [flattened(group["params"]) for group in self.param_groups]
        self.state = {p: entries for p, entries in self.state.items() if id(p) in taken}

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy gets: it puts its parameters into flat buffers of its own."""
        return {k: v for k, v in vars(self).items() if k not in ("_flats", "_known", "_checked")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget_places()

    # Training --------------------------------------------------------------------------------

    def zero_grad(self) -> None:
        """Drop the gradients of all parameters."""
        self._take_over_groups()
        tracing = current()
        for group in self.param_groups:
            for p in group["params"]:
                if tracing is not None:
                    p.grad = None
                elif p.node is not None:
                    p.node.grad = None

    def step(self, *, skip: Tensor | None = None) -> None:
        """Change every parameter that has a gradient, in place.

        Nothing is read from the device.

        Parameters
        ----------
        skip : Tensor, (), optional
            If it is not 0, parameters and their state stay as they are: see `GradScaler`.

        Raises
        ------
        OptionError
            If an option was set to a value outside its range, or a group edited so that it is none.
        BackendMismatchError, DTypeError
            If a gradient was set by hand that is not like its parameter.
        """
        self._arrange()
        tracing = current()
        if tracing is not None:
            self._note(tracing)
        for i, flats in enumerate(self._flats):
            options = self._options(i)
            for flat in flats:
                try:
                    self._step_flat(i, options, flat, None if skip is None else skip.data)
                except MemoryError as error:
                    what = f"{type(self).__name__}, for its state and what it computes with,"
                    raise memory.out_of_memory(error, flat.backend, what) from None

    def _arrange(self) -> None:
        """Put the parameters into flat buffers, if they are not or no longer there."""
        self._take_over_groups()
        if not all(map(Flat.is_intact, chain.from_iterable(self._flats))):
            self._flats = [flattened(group["params"]) for group in self.param_groups]
        for group in self._flats:
            for flat in group:
                flat.settle()

    def _note(self, tracing: Guards) -> None:
        """A recorded step is right while parameters, state and kinds of options are the same."""
        flats, state = self._flats, self.state
        for group in self.param_groups:
            for p in group["params"]:
                tracing.note_tensor(p)
        kinds = [self._kind(i) for i in range(len(flats))]

        def unchanged() -> bool:
            if self._flats is not flats or self.state is not state:
                return False
            if not are_known(self.param_groups, self._known):
                return False
            for i, kind in enumerate(kinds):  # noqa: SIM110 - at every replay: no generator
                if self._kind(i) != kind:
                    return False
            return True

        tracing.note_guard(unchanged)

    def _options(self, i: int) -> Checked:
        """Return the checked options of group ``i``; checked again only if one has changed."""
        group = self.param_groups[i]
        try:
            given = (len(group), self._pick(group))
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

    def _kind(self, i: int) -> Any:
        """Return what cannot change in a recorded step: state arrays and flags."""
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
            flags: dict[str, Any] = options.flags
            own = before = None
            if skip is not None and self.rule.can_skip(flat.backend):
                flags = {**flags, "skip": skip}
            elif skip is not None:
                own = [array for array in (arrays[0], *arrays[2:]) if array is not None]
                before = repeated(_copies, own)
            perform(self.rule, flat.backend, *arrays, scalars=scalars, **flags)
            if before is not None:
                perform(_restore, flat.backend.xp, own, before, skip)
            tracing = current()
            for p in run.params:
                p.version_cell[0] += 1
                if tracing is not None:
                    tracing.note_change(p.version_cell)

    def _runs(self, flat: Flat, initial: dict[str, float]) -> list[tuple[int, int]]:
        """First and last of the parameters to change: neighbours with one step count at once."""
        runs: list[tuple[int, int]] = []
        steps = -1
        slots = None  # no state is made where there is no gradient
        for i, p in enumerate(flat.params):
            grad = p.grad
            if grad is None:
                continue
            if slots is None:
                slots = [(name, value, flat.state(name)) for name, value in initial.items()]
            if grad.backend is not p.backend or grad.dtype != p.dtype:
                _refuse_gradient(p, grad)
            if flat.moved and grad.data is not flat.homes[i]:
                flat.take_gradient(i, grad)
            state = self.state.setdefault(p, {"step": 0})
            for name, value, arrays in slots:
                tensor = state.get(name)
                if tensor is None or tensor.data is not arrays[i]:
                    self._place_state(p, name, arrays[i], value)
            if runs and runs[-1][1] == i - 1 and state["step"] == steps:
                runs[-1] = (runs[-1][0], i)
            else:
                runs.append((i, i))
                steps = state["step"]
        return runs

    def _place_state(self, p: Tensor, name: str, array: Array, value: float) -> None:
        """Have a state tensor lie in the flat buffer; a new one is filled with ``value``."""
        state = self.state[p]
        # loaded before, or the parameter has moved
        array[...] = copied(state[name], p).data if name in state else value
        state[name] = Tensor(array, p.backend)

    def _advance(self, run: Run) -> list[float]:
        """Count a step of some parameters; return the scalars of their update."""
        for p in run.params:
            self.state[p]["step"] += 1
        options = self._options(run.group).options
        scalars = self.scalars(options, self.state[run.params[0]]["step"])
        return list(map(scalars.__getitem__, self.rule.scalars))

    # State -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, besides the parameters themselves.

        Returns
        -------
        dict
            ``"param_groups"``: the options of each group, with the positions of its parameters
            instead of the parameters; ``"state"``: position → step count and tensors, which share
            the optimizer's memory.
        """
        self._take_over_groups()
        groups: list[dict[str, Any]] = []
        positions: dict[Tensor, int] = {}
        for group in self.param_groups:
            places = [positions.setdefault(p, len(positions)) for p in group["params"]]
            groups.append({**group, "params": places})
        state = {positions[p]: dict(entries) for p, entries in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, for the same parameters in the same order.

        Parameters
        ----------
        state : mapping
            Its arrays may be tensors or arrays of any backend; they are copied.

        Raises
        ------
        StateError
            If groups, names or shapes do not match.  Nothing was changed then.
        OptionError
            If an option is outside its range.  Nothing was changed then.
        """
        self._take_over_groups()
        groups, entries = checked_state(self, state)
        for group, options in zip(self.param_groups, groups, strict=True):
            for name in ("initial_lr", "scheduled_lr"):  # of a schedule that the state has not seen
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


def _copies(arrays: list[Array]) -> list[Array]:
    return [array.copy() for array in arrays]


def _restore(xp: Any, arrays: list[Array], before: list[Array], skip: Array) -> None:
    """Take back what was changed, if ``skip`` is not 0."""
    for array, old in zip(arrays, before, strict=True):
        array[...] = xp.where(skip != 0, old, array)


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
