"""One training step: forward, loss, backward, update; replayed if compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from inspect import Parameter, signature
from typing import Any, TypeAlias

from nnlib.autograd import Tensor, autocast
from nnlib.errors import DataError, DTypeError, OptionError
from nnlib.jit import Compiled
from nnlib.nn import Module
from nnlib.nn.functional.counted import Count
from nnlib.optim import GradScaler, Optimizer, clip_grad_norm_
from nnlib.train.batches import Batch, split
from nnlib.train.losses import LossFunction, get_loss, ignore_index_of, measured
from nnlib.train.metrics import Measured, Metric, ignoring
from nnlib.train.shares import Shares

__all__ = ["Results", "StepState", "Stepper", "positional"]

Results: TypeAlias = tuple[Tensor, Count, list[Measured]]

_LARGEST_STATE = 512 << 20  # bytes that a check of a replay may copy twice


class Stepper:
    """One step of training or validation with a model, a loss and an optimizer.

    Nothing here reads a value from the device.

    Parameters
    ----------
    model, loss, optimizer, metrics, clip_norm, compile, precision
        As for `nnlib.Trainer`.

    Attributes
    ----------
    scaler : optim.GradScaler
        Of the loss; it has an effect in float16 only.
    compiled : bool
        Whether steps are replayed.
    """

    def __init__(
        self,
        model: Module,
        loss: str | LossFunction,
        optimizer: Optimizer,
        metrics: Sequence[Metric] = (),
        *,
        clip_norm: float | None = None,
        compile: bool = True,
        precision: str | None = None,
    ) -> None:
        if not isinstance(model, Module):
            raise DTypeError(f"model must be an nn.Module. Received: {type(model).__name__}")
        if not isinstance(optimizer, Optimizer):
            kind = " (a class: write it with model.parameters())" * isinstance(optimizer, type)
            raise DTypeError(f"optimizer must be of nnlib.optim. Received: {optimizer!r}{kind}")
        if clip_norm is not None and not 0 < clip_norm < float("inf"):
            raise OptionError(f"clip_norm must be a positive number. Received: {clip_norm!r}")
        self.model = model
        self.loss = get_loss(loss)
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self.metrics = [ignoring(metric, ignore_index_of(self.loss)) for metric in metrics]
        for metric in self.metrics:
            if type(metric).update is not Metric.update:
                raise OptionError(
                    "a metric must define total(), or measure() and add(), which a compiled step "
                    f"calls. Received: {type(metric).__name__}, with its own update()"
                )
        self.precision = precision
        self._autocast = nullcontext() if precision is None else autocast(precision)
        self.scaler = GradScaler(enabled=precision in ("fp16", "float16"))
        self.check_optimizer()
        self.compiled = compile
        self._make_steps()

    def _make_steps(self) -> None:
        """Make the step functions, compiled or not."""
        self._train = self._train_eagerly
        self._test = self._test_eagerly
        if self.compiled:
            self._train = Compiled(self._train_eagerly, StepState(self))
            self._test = Compiled(self._test_eagerly, NoState())

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k not in ("_train", "_test")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_steps()

    def check_optimizer(self) -> None:
        """Raise if a layer was replaced after the optimizer was made.

        An optimizer may lack parameters of the model, and it may have others, of a loss for
        instance.  Both together mean that a layer was replaced: the old one would be trained
        instead of the new one.

        Raises
        ------
        OptionError
            If it has no parameter of the model, or those of a replaced layer.
        """
        given = {id(p) for p in _trained(self.optimizer)}
        own = {id(p): (name, p) for name, p in self.model.named_parameters()}
        if not given & own.keys():
            raise OptionError(
                "the optimizer must have parameters of this model. Received: only others (was the "
                "model made again after the optimizer?)"
            )
        left_out = [name for key, (name, p) in own.items() if p.requires_grad and key not in given]
        if left_out and given - own.keys():
            raise OptionError(
                "the optimizer must be for the model as it is. Received: one with parameters that "
                f"the model does not have, and without {', '.join(left_out)}. If a layer was "
                "replaced, make the optimizer after that, or call optimizer.add_param_group; "
                "freeze layers that are not to be trained: nnlib.nn.freeze"
            )

    def check_replays(self) -> None:
        """Compare the next replays with the eager step, bit by bit."""
        for step in (self._train, self._test):
            if isinstance(step, Compiled):
                step.check_replays()

    def lowered(self) -> AbstractContextManager[None]:
        """Return the context of the run's precision for model, loss and metrics."""
        return self._autocast

    def output_of(self, inputs: Sequence[Tensor]) -> Any:
        """Apply the model.

        Raises
        ------
        DataError
            If the number of inputs is wrong.
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
        """Compute the loss, which must be a single value, and its divisor.

        Raises
        ------
        ShapeError
            If it is not.
        """
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return measured(self.loss, output, target, f"the loss {name}")

    def compute_gradients(self, group: list[Batch]) -> list[tuple[Tensor, Count, Any]]:
        """Compute the gradient of the loss of a group as of one larger batch.

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
            shares.settle(_trained(self.optimizer))
        return results

    def update(self) -> None:
        """Clip the gradients and update the parameters."""
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(_trained(self.optimizer), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def train_step(self, group: list[Batch]) -> list[Results]:
        """Make one step with a group of batches, see `Placement.arguments`.

        Returns
        -------
        list of (loss, count, values)
            Of each batch, outside the graph: the loss, its divisor, and the result of
            `Metric.measure` of each metric.
        """
        return self._train(group)

    def test_step(self, batch: Batch) -> Results:
        """Compute loss and metrics of a batch, likewise."""
        return self._test(batch)

    def _train_eagerly(self, group: list[Batch]) -> list[Results]:
        results = self.compute_gradients(group)
        self.update()
        with self.lowered():
            return [
                (loss, count, [metric.measure(output, batch[-1]) for metric in self.metrics])
                for batch, (loss, count, output) in zip(group, results, strict=True)
            ]

    def _test_eagerly(self, batch: Batch) -> Results:
        inputs, target = split(batch)
        with self.lowered():
            output = self.output_of(inputs)
            values = [metric.measure(output, target) for metric in self.metrics]
            return *self.loss_of(output, target), values


class NoState:
    """The state that a validation step changes: none."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing."""


class StepState:
    """Copies and restores the state that a training step changes, to check a replay.

    It consists of parameters, gradients, buffers, the optimizer's state and the scale of the loss.

    Parameters
    ----------
    stepper : Stepper
    """

    def __init__(self, stepper: Stepper) -> None:
        self._stepper = stepper

    def state(self) -> dict[str, Any] | None:
        """Copy everything, by name; None if it is more than 512 MiB."""
        found = dict(self._tensors())
        if sum(t.data.nbytes for t in found.values() if t is not None) > _LARGEST_STATE:
            return None
        copies = {name: None if t is None else t.data.copy() for name, t in found.items()}
        return copies | dict(self._numbers())

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a copy; tensors made since then stay, because the step makes them again."""
        for name, tensor in self._tensors():
            saved = state.get(name)
            if saved is not None and tensor is not None:
                tensor.data[...] = saved
                tensor.bump_version()
        for name, p in self._parameters():
            saved = state.get(f"gradient of {name}")
            if saved is None or p.grad is None:
                p.grad = None if saved is None else Tensor(saved, p.backend)
            own = self._stepper.optimizer.state.get(p)
            if own is not None:
                own["step"] = state.get(f"step count of {name}", 0)
        if self._stepper.scaler.enabled:
            names = self._stepper.scaler.state_dict()
            self._stepper.scaler.load_state_dict({name: state[name] for name in names})

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all trained parameters, with their names in model and loss."""
        seen = set()
        for owner, part in (("model", self._stepper.model), ("loss", self._stepper.loss)):
            for name, parameter in part.named_parameters() if isinstance(part, Module) else ():
                seen.add(id(parameter))
                yield f"{owner}.{name}", parameter
        for i, p in enumerate(_trained(self._stepper.optimizer)):
            if id(p) not in seen:
                yield f"parameter {i}", p

    def _tensors(self) -> Iterator[tuple[str, Tensor | None]]:
        for name, p in self._parameters():
            yield name, p
            yield f"gradient of {name}", p.grad
            for key, value in self._stepper.optimizer.state.get(p, {}).items():
                if isinstance(value, Tensor):
                    yield f"{key} of {name}", value
        for owner, part in (("model", self._stepper.model), ("loss", self._stepper.loss)):
            for name, buffer in part.named_buffers() if isinstance(part, Module) else ():
                yield f"buffer {owner}.{name}", buffer

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        for name, p in self._parameters():
            yield f"step count of {name}", self._stepper.optimizer.state.get(p, {}).get("step", 0)
        if self._stepper.scaler.enabled:
            yield from self._stepper.scaler.state_dict().items()


def positional(function: Callable[..., Any]) -> tuple[int, float]:
    """Return the least and the largest number of positional arguments of a function.

    Examples
    --------
    >>> positional(lambda x, mask=None, *, scale=1: x)
    (1, 2)
    >>> positional(lambda *inputs: inputs)
    (0, inf)
    """
    try:
        parameters = list(signature(function).parameters.values())
    except (TypeError, ValueError):  # it has no signature
        return 0, math.inf
    single = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    most = math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(single)
    return sum(p.default is Parameter.empty for p in single), most


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    return tuple(map(_detached, value)) if isinstance(value, list | tuple) else value


def _trained(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
