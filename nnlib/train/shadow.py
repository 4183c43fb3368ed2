"""What a training step changes: copied and put back, so that a replay can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnlib.autograd import Tensor
from nnlib.nn import Module

if TYPE_CHECKING:
    from nnlib.train.steps import Steps

__all__ = ["NoState", "StepState"]

_LARGEST = 512 << 20  # bytes; two copies are made


class NoState:
    """Of a function that changes nothing."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Do nothing."""


class StepState:
    """Parameters, gradients, buffers, optimizer state and the loss's scale of some steps.

    Parameters
    ----------
    steps : Steps
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def state(self) -> dict[str, Any] | None:
        """Copy everything, by name; None if it is more than 512 MiB."""
        found = dict(self._tensors())
        if sum(t.data.nbytes for t in found.values() if t is not None) > _LARGEST:
            return None
        copies = {name: None if t is None else t.data.copy() for name, t in found.items()}
        return copies | dict(self._numbers())

    def restore(self, state: dict[str, Any]) -> None:
        """Put a copy back; what has been made since stays, for the step makes it again."""
        for name, tensor in self._tensors():
            saved = state.get(name)
            if saved is not None and tensor is not None:
                tensor.data[...] = saved
                tensor.bump_version()
        for name, p in self._parameters():
            saved = state.get(f"gradient of {name}")
            if saved is None or p.grad is None:
                p.grad = None if saved is None else Tensor(saved, p.backend)
            own = self._steps.optimizer.state.get(p)
            if own is not None:
                own["step"] = state.get(f"step count of {name}", 0)
        if self._steps.scaler.enabled:
            names = self._steps.scaler.state_dict()
            self._steps.scaler.load_state_dict({name: state[name] for name in names})

    def _parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all that is trained, with the names that model and loss have for it."""
        seen = set()
        for part in (self._steps.model, self._steps.loss):
            for name, p in part.named_parameters() if isinstance(part, Module) else ():
                seen.add(id(p))
                yield f"{'model' if part is self._steps.model else 'loss'}.{name}", p
        others = (p for group in self._steps.optimizer.param_groups for p in group["params"])
        for i, p in enumerate(others):
            if id(p) not in seen:
                yield f"parameter {i}", p

    def _tensors(self) -> Iterator[tuple[str, Tensor | None]]:
        for name, p in self._parameters():
            yield name, p
            yield f"gradient of {name}", p.grad
            for key, value in self._steps.optimizer.state.get(p, {}).items():
                if isinstance(value, Tensor):
                    yield f"{key} of {name}", value
        for owner, part in (("model", self._steps.model), ("loss", self._steps.loss)):
            for name, buffer in part.named_buffers() if isinstance(part, Module) else ():
                yield f"buffer {owner}.{name}", buffer

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        for name, p in self._parameters():
            yield f"step count of {name}", self._steps.optimizer.state.get(p, {}).get("step", 0)
        if self._steps.scaler.enabled:
            yield from self._steps.scaler.state_dict().items()
