"""What a training step is: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from nnlib.autograd import Tensor, autocast
from nnlib.errors import DataError, DTypeError, OptionError
from nnlib.jit import Compiled
from nnlib.nn import Module
from nnlib.nn.functional.counted import Count
from nnlib.optim import GradScaler, Optimizer, clip_grad_norm_
from nnlib.optim.schedules import LRScheduler, OneCycleLR, ReduceLROnPlateau
from nnlib.train.batches import Batch, split
from nnlib.train.losses import LossFunction, get_loss, ignore_index_of
from nnlib.train.metric import Measured, Metric, ignoring
from nnlib.train.outputs import positional
from nnlib.train.readings import measured
from nnlib.train.shadow import NoState, StepState
from nnlib.train.shares import Shares
from nnlib_backends import Backend, get_backend

__all__ = ["Results", "Steps", "grouped"]

Results: TypeAlias = tuple[Tensor, Count, list[Measured]]


class Steps:
    """Model, loss, optimizer and schedule, and one step of training with them.

    Nothing here reads a value from the device.
    """

    def __init__(
        self,
        model: Module,
        loss: str | LossFunction,
        optimizer: Optimizer,
        schedule: LRScheduler | None = None,
        schedule_every: str | None = None,
        clip_norm: float | None = None,
        metrics: Sequence[Metric] = (),
        compile: bool = True,
        precision: str | None = None,
    ) -> None:
        _check_parts(model, optimizer, schedule)
        if clip_norm is not None and not 0 < clip_norm < float("inf"):
            raise OptionError(f"clip_norm must be a positive number. Received: {clip_norm!r}")
        if schedule_every not in (None, "step", "epoch"):
            raise OptionError(
                f"schedule_every must be 'step' or 'epoch'. Received: {schedule_every!r}"
            )
        if isinstance(schedule, ReduceLROnPlateau) and schedule_every == "step":
            raise OptionError("ReduceLROnPlateau looks at an epoch's loss: schedule_every='epoch'")
        self.model = model
        self.loss = get_loss(loss)
        self.optimizer = optimizer
        self.schedule = schedule
        self.schedule_every = schedule_every or (
            "step" if isinstance(schedule, OneCycleLR) else "epoch"
        )
        self.clip_norm = clip_norm
        self.learning_rate: float = optimizer.param_groups[0]["lr"]  #: of the last step
        self.metrics = [ignoring(metric, ignore_index_of(self.loss)) for metric in metrics]
        for metric in self.metrics:
            if type(metric).update is not Metric.update:
                raise OptionError(
                    "a metric must define total(), or measure() and add(), which a compiled step "
                    f"calls. Received: {type(metric).__name__}, with its own update()"
                )
        self.precision = precision
        self._autocast = nullcontext() if precision is None else autocast(precision)
        #: of the loss; does nothing but in float16
        self.scaler = GradScaler(enabled=precision in ("fp16", "float16"))
        self._compiled = compile
        self._make_steps()

    def _make_steps(self) -> None:
        """Compile the steps, unless that is not wanted."""
        self._train = self._train_as_it_is
        self._test = self._test_as_it_is
        if self._compiled:
            self._train = Compiled(self._train_as_it_is, StepState(self))
            self._test = Compiled(self._test_as_it_is, NoState())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_train", "_test")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_steps()

    def check_replays(self) -> None:
        """Have the next replayed steps compared with the step itself, bit by bit; see `compile`."""
        for step in (self._train, self._test):
            if isinstance(step, Compiled):
                step.audit()

    def brings_batches(self, backend: Backend) -> bool:
        """Tell whether a step takes batches from the host to this backend by itself."""
        return self._compiled and not backend.host_memory and backend.tracer() is not None

    def lowered(self) -> AbstractContextManager[None]:
        """Return what model, loss and metrics are computed in: the run's precision."""
        return self._autocast

    def output_of(self, inputs: Sequence[Tensor]) -> Any:
        """Apply the model.

        Raises
        ------
        DataError
            If these are more or fewer inputs than it takes.
        """
        try:
            return self.model(*inputs)
        except TypeError as error:
            least, most = positional(self.model.forward)
            if least <= len(inputs) <= most:
                raise
            takes = f"{least:g}" if least == most else f"{least:g} to {most:g}"
            raise DataError(
                f"a batch must have an array for each input of the model and then the target; "
                f"{type(self.model).__name__} takes {takes}. Received: {len(inputs)} inputs. What "
                "the loss needs besides, such as weights of the examples, can be a part of the "
                "target, for a loss of your own"
            ) from error

    def loss_of(self, output: Any, target: Tensor) -> tuple[Tensor, Count]:
        """Compute the loss, which must be a single value, and what it is the mean over.

        Raises
        ------
        ShapeError
            If it is not.
        """
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return measured(self.loss, output, target, f"the loss {name}")

    def compute_gradients(self, group: list[Batch]) -> list[tuple[Tensor, Count, Any]]:
        """Leave in every parameter the gradient of the loss of a group as of one larger batch.

        Returns
        -------
        list of (loss, count, output)
            Of each batch, outside the graph.
        """
        self.optimizer.zero_grad()
        shares = None if len(group) == 1 else Shares([batch[-1] for batch in group])
        results = []
        for batch in group:
            inputs, target = split(batch)
            with self.lowered():
                output = self.output_of(inputs)
                loss, count = self.loss_of(output, target)
            share = loss if shares is None else shares.of(loss, count)
            self.scaler.scale(share).backward()
            results.append((loss.detach(), count, _detached(output)))
        if shares is not None:
            shares.settle(_parameters(self.optimizer))
        return results

    def apply_gradients(self) -> None:
        """Clip the gradients, update the parameters, go on with a schedule that counts steps."""
        self._update()
        self._go_on()

    def _update(self) -> None:
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(_parameters(self.optimizer), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _go_on(self) -> None:
        self.learning_rate = self.optimizer.param_groups[0]["lr"]
        if self.schedule is not None and self.schedule_every == "step":
            self.schedule.step()

    def train_step(self, group: list[Batch]) -> list[Results]:
        """Make one step with a group of batches.

        Returns
        -------
        list of (loss, count, values)
            Of each batch, outside the graph: the loss, what it is the mean over, and what each
            metric makes of the outputs (see `Metric.measure`).
        """
        results = self._train(_as_arguments(group))
        self._go_on()
        return results

    def test_step(self, batch: Batch) -> Results:
        """Compute loss and metrics of a batch, likewise."""
        return self._test(_as_arguments(batch))

    def _train_as_it_is(self, group: list[Batch]) -> list[Results]:
        results = self.compute_gradients(group)
        self._update()
        with self.lowered():
            return [
                (loss, count, [metric.measure(output, batch[-1]) for metric in self.metrics])
                for batch, (loss, count, output) in zip(group, results, strict=True)
            ]

    def _test_as_it_is(self, batch: Batch) -> Results:
        inputs, target = split(batch)
        with self.lowered():
            output = self.output_of(inputs)
            values = [metric.measure(output, target) for metric in self.metrics]
            return *self.loss_of(output, target), values


def _as_arguments(value: Any) -> Any:
    """Take the arrays out of tensors on the host, if the model is elsewhere.

    A compiled function brings arrays to where it computes; a tensor says where it wants to be.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_as_arguments, value))
    elsewhere = value.backend.host_memory and not get_backend().host_memory
    return value.data if elsewhere else value


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Batches in groups of ``size``, the last one perhaps smaller; none is fetched ahead.

    Examples
    --------
    >>> list(grouped("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return tuple(map(_detached, value)) if isinstance(value, list | tuple) else value


def check_optimizer(model: Module, optimizer: Optimizer) -> None:
    """Raise unless the optimizer is for this model as it is now.

    It may leave parameters out, and it may have others, of a loss for instance.  Both together mean
    that a layer was replaced: the old one would be trained, and the new one would not.

    Raises
    ------
    OptionError
        If it has no parameter of the model, or not those of a layer that has been replaced.
    """
    given = {id(p) for p in _parameters(optimizer)}
    own = {id(p): name for name, p in model.named_parameters()}
    if not given & own.keys():
        raise OptionError(
            "the optimizer must have parameters of this model. Received: only others (was the "
            "model made anew after the optimizer?)"
        )
    left_out = [
        name for name, p in model.named_parameters() if p.requires_grad and id(p) not in given
    ]
    if left_out and given - own.keys():
        raise OptionError(
            "the optimizer must be for the model as it is. Received: one with parameters that the "
            f"model does not have, and without {', '.join(left_out)}. If a layer was replaced, "
            "make the optimizer after that, or call optimizer.add_param_group; what shall not be "
            "trained can be frozen: nnlib.nn.freeze"
        )


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _check_parts(model: Any, optimizer: Any, schedule: Any) -> None:
    if not isinstance(model, Module):
        raise DTypeError(f"model must be an nn.Module. Received: {type(model).__name__}")
    if not isinstance(optimizer, Optimizer):
        hint = " (a class: write it with model.parameters())" if isinstance(optimizer, type) else ""
        raise DTypeError(f"optimizer must be of nnlib.optim. Received: {optimizer!r}{hint}")
    check_optimizer(model, optimizer)
    if schedule is not None and not isinstance(schedule, LRScheduler):
        raise DTypeError(f"schedule must be of nnlib.optim.schedules. Received: {schedule!r}")
    if schedule is not None and schedule.optimizer is not optimizer:
        raise OptionError("the schedule must be made for this optimizer. Received: another's")
