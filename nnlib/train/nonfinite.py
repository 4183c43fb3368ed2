"""Stopping when the loss becomes NaN or infinite, and finding the layer where it began."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nnlib.autograd import Tensor
from nnlib.errors import NonFiniteError, OptionError
from nnlib.nn import Module
from nnlib.random import default_generator
from nnlib.train.batches import Batch, batches, split
from nnlib.train.callbacks import Callback
from nnlib.train.checkpoint import copied, size_in_bytes
from nnlib.train.state import position, repeat_from
from nnlib_backends.dtypes import is_floating

if TYPE_CHECKING:
    from nnlib.train.trainer import Trainer

__all__ = ["NaNStop", "find_cause"]

_DATA_ADVICE = "To fix it: leave out or replace these values, which np.isfinite(x) finds"
_ADVICE = (
    "To fix it: a lower learning rate, clip_norm=1.0, inputs scaled to about −1 … 1, or a loss "
    "that starts from logits"
)


class NaNStop(Callback):
    """Raise NonFiniteError when the loss is NaN or infinite, and name the layer where it began.

    Losses are checked when the trainer reads them: every ``log_every`` steps and at the end of an
    epoch.  By then NaN has spread.  So each read makes a copy of parameters and optimizer state;
    after a loss that is not finite the steps from that copy on are repeated, with a check of every
    gradient, up to the first that is not finite.  Without a copy only the last batch is checked.

    `Trainer` has one unless ``nan_stop=False``.  After the error the model and the optimizer are in
    their state before the faulty step.

    Parameters
    ----------
    copy_limit : int
        Largest state, in bytes, that is copied.

    Raises
    ------
    NonFiniteError
        The text names step, layer and batch, and a remedy.

    Examples
    --------
    >>> import math
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> model = nn.Linear(1, 1)
    >>> sgd = optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = nnlib.Trainer(model, "mse", sgd, progress=False)
    >>> try:
    ...     trainer.fit((nnlib.ones(4, 1), nnlib.full((4, 1), math.nan)))
    ... except NonFiniteError as error:
    ...     print(str(error).partition(".")[0])
    the loss was nan at step 1 (epoch 1)
    """

    def __init__(self, copy_limit: int = 512 << 20) -> None:
        if copy_limit < 0:
            raise OptionError(f"copy_limit must be 0 or more bytes. Received: {copy_limit}")
        self.copy_limit = copy_limit
        self._copy: dict[str, Any] | None = None

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Renew the copy."""
        self._renew(trainer)

    def on_read(self, trainer: Trainer, losses: list[float]) -> None:
        """Check the losses; renew the copy if all are finite."""
        for i, loss in enumerate(losses, trainer.step - len(losses) + 1):
            if not math.isfinite(loss):
                self._stop(trainer, f"the loss was {loss} at step {i} (epoch {trainer.epoch + 1})")
        if not trainer.training_done:
            self._renew(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Check the validation loss: the epoch's last step may have made parameters NaN."""
        loss = logs.get("val_loss", 0.0)
        if not math.isfinite(loss):
            self._stop(trainer, f"val_loss was {loss} after epoch {trainer.epoch}")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Free the copy."""
        self._copy = None

    def _renew(self, trainer: Trainer) -> None:
        self._copy = None  # before the new one is made, so that memory never holds a third
        start = position(trainer)
        if size_in_bytes(start) <= self.copy_limit:
            self._copy = copied(start)

    def _stop(self, trainer: Trainer, what: str) -> None:
        cause = None
        if self._copy is not None:
            cause = _repeat(trainer, self._copy)
            self._copy = None
        elif trainer.last_batch is not None:
            cause = "In the last batch: " + find_cause(trainer, trainer.last_batch)
        if cause is None:
            cause = _bad_validation_data(trainer) or _NOT_FOUND
        raise NonFiniteError(f"{what}. {cause}\n{_DATA_ADVICE if _BAD_DATA in cause else _ADVICE}")


_BAD_DATA = "hold values that are not finite"
_NOT_FOUND = (
    "Repeating the steps before it, with a look at every gradient, found only finite values. Look "
    "for an operation that is not deterministic"
)


def _repeat(trainer: Trainer, start: dict[str, Any]) -> str | None:
    """Repeat the steps from a position up to the first that is not finite; describe it."""
    last = trainer.step
    for step, group in repeat_from(trainer, start):
        if step > last:
            return None
        random = default_generator.state_dict()
        buffers = copied(dict(trainer.model.named_buffers()))
        losses = [loss for loss, *_ in trainer.compute_gradients(group)]
        # scaled ones may be infinite: the scaler skips such a step and lowers the scale
        looked_at = () if trainer.scaler.enabled else trainer.model.parameters()
        gradients = (p.grad for p in looked_at if p.grad is not None)
        if all(is_finite(value) for value in (*losses, *gradients)):
            trainer.apply_gradients()
            continue
        bad = [batch for batch, loss in zip(group, losses, strict=True) if not is_finite(loss)]
        default_generator.load_state_dict(random)
        trainer.model.load_state_dict(buffers, strict=False)
        text = find_cause(trainer, (bad or group)[0])
        trainer.model.load_state_dict(buffers, strict=False)
        trainer.optimizer.zero_grad()
        return f"It began in step {step}: {text}"
    return None


def find_cause(trainer: Trainer, batch: Batch) -> str:
    """Run a batch forward and backward with hooks; describe the first value that is not finite."""
    facts = _facts(batch)
    if not all(is_finite(array) for array in batch):
        return f"the data of this batch {_BAD_DATA} ({facts})"
    for path, parameter in trainer.model.named_parameters():
        if not is_finite(parameter):
            return f"parameter {path!r} is not finite already ({describe_values(parameter)})"
    inputs, target = split(trainer.placement.eager.place(batch))
    with _Watch(trainer.model) as watch, trainer.stepper.lowered():
        output = trainer.stepper.output_of(inputs)
        if not watch.found:
            loss, _ = trainer.stepper.loss_of(output, target)
            if not is_finite(loss):
                watch.found = (
                    f"the loss of outputs that are finite ({describe_values(output)}) is "
                    f"{float(loss)}"
                )
            elif loss.requires_grad:
                trainer.optimizer.zero_grad()
                loss.backward()
                watch.look_at_parameters()
    return f"{watch.found or 'this batch alone gives finite values'}. The batch: {facts}"


def _bad_validation_data(trainer: Trainer) -> str | None:
    """Describe the first batch of the validation data that is not finite."""
    if trainer.val is not None:
        for number, batch in enumerate(batches(trainer.val, trainer.placement.eager), 1):
            if not all(is_finite(array) for array in batch):
                return f"Batch {number} of the validation data {_BAD_DATA} ({_facts(batch)})"
    return None


def _facts(batch: Batch) -> str:
    return "; ".join(f"array {i}: {describe_values(array)}" for i, array in enumerate(batch))


class _Watch:
    """Hooks on every layer; `found` describes the first value that is not finite."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.found = ""
        self._gradient = 0  # id of the gradient that `found` describes

    def __enter__(self) -> _Watch:
        self._removals: list[Callable[[], None]] = [
            module.register_forward_hook(partial(self._forward, _title(path, module)))
            for path, module in self.model.named_modules()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for remove in self._removals:
            remove()

    def _forward(self, title: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.found:
            return
        for value in _tensors(output):
            if not is_finite(value):
                given = ", ".join(describe_values(x) for x in _tensors(inputs))
                self.found = (
                    f"the first output that is not finite is that of {title} "
                    f"({describe_values(value)}), whose input was {given}"
                )
                return
            self._watch(value, f"the gradient that arrives at the output of {title}", False)
        for value in _tensors(inputs):
            self._watch(value, f"the gradient by the input of {title}, made by that layer,", True)

    def _watch(self, value: Tensor, title: str, by_consumer: bool) -> None:
        if not value.requires_grad or value.is_leaf:
            return

        def look(gradient: Tensor) -> None:
            # The producer and the consumer of a value have the same gradient.  The consumer
            # computed it, so its title replaces the other's.
            better = by_consumer and self._gradient == id(gradient)
            if better or (not self.found and not is_finite(gradient)):
                self.found = (
                    f"{title} is the first that is not finite ({describe_values(gradient)})"
                )
                self._gradient = id(gradient)

        value.register_hook(look)

    def look_at_parameters(self) -> None:
        """Check the gradients of the parameters after the backward pass, the last layer first."""
        for path, parameter in reversed(list(self.model.named_parameters())):
            gradient = parameter.grad
            if not self.found and gradient is not None and not is_finite(gradient):
                self.found = (
                    f"the gradient by parameter {path!r} is the first that is not finite "
                    f"({describe_values(gradient)})"
                )


def _title(path: str, module: Module) -> str:
    kind = type(module).__name__
    return f"layer {path!r} ({kind})" if path else f"the model ({kind})"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def is_finite(value: Tensor) -> bool:
    """Whether all values are finite (waits for the device).

    Examples
    --------
    >>> import nnlib
    >>> is_finite(nnlib.tensor([1.0, float("inf")]))
    False
    """
    if not is_floating(value.dtype):
        return True
    xp = value.backend.xp
    return bool(xp.all(xp.isfinite(value.data)))


def describe_values(value: Tensor) -> str:
    """Describe the values of an array.

    Examples
    --------
    >>> import nnlib
    >>> describe_values(nnlib.tensor([0.0, 2.0, float("nan")]))
    'float32 (3,): 1 NaN and 0 infinite of 3 values, first in row 2; the others 0 … 2, mean 1'
    """
    array = value.numpy()
    text = f"{array.dtype} {array.shape}: "
    if not is_floating(array.dtype):
        return text + (f"{array.min()} … {array.max()}" if array.size else "empty")
    finite = np.isfinite(array)
    if not finite.all():
        nans = int(np.isnan(array).sum())
        bad = array.size - int(finite.sum())
        row = f", first in row {np.argwhere(~finite)[0][0]}" if array.ndim else ""
        text += f"{nans} NaN and {bad - nans} infinite of {array.size} values{row}; the others "
        array = array[finite]
    if not array.size:
        return text + "none"
    return text + f"{array.min():.4g} … {array.max():.4g}, mean {array.mean(dtype=np.float64):.4g}"
