"""`GradScaler`: loss scaling for float16."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib.arguments import positive_integer
from nnlib.autograd import Tensor
from nnlib.errors import OptionError, StateError
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.update import call_update
from nnlib.tracing import perform
from nnlib_backends import Backend
from nnlib_backends.base import Array

__all__ = ["GradScaler"]


class GradScaler:
    """Scale the loss, so that small gradients do not become zero in float16.

    The gradients are divided by the same factor before the optimizer's step.  If one of them is
    infinite or NaN, the step is skipped and the factor decreases; after a number of steps without
    that it increases again.  The device decides, so the host never waits, and a step can be
    compiled.

    Parameters
    ----------
    init_scale : float
        Initial factor.
    growth_factor, backoff_factor : float
        The factor is multiplied by ``growth_factor`` (above 1) after good steps, and by
        ``backoff_factor`` (between 0 and 1) after a skipped one.
    growth_interval : int
        Number of good steps in a row before the factor increases.
    enabled : bool
        If false, the factor is 1 and no step is skipped: one program serves every precision.

    Raises
    ------
    OptionError
        If an option is outside its range.

    Notes
    -----
    As in PyTorch, with one difference: a skipped step increases Adam's step count, which the host
    keeps.  The bias correction is then slightly too small, and the first steps are shorter.

    References
    ----------
    Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import nn, optim
    >>> model, x = nn.Linear(2, 1), nnlib.ones(4, 2)
    >>> optimizer, scaler = optim.SGD(model.parameters(), lr=0.1), GradScaler()
    >>> with nnlib.autocast("fp16"):
    ...     loss = (model(x) ** 2).mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale()
    65536.0
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if not (init_scale > 0 and growth_factor > 1 and 0 < backoff_factor < 1):
            raise OptionError(
                "a scaler needs init_scale > 0, growth_factor > 1 and 0 < backoff_factor < 1. "
                f"Received: {init_scale}, {growth_factor} and {backoff_factor}"
            )
        positive_integer("growth_interval", growth_interval)
        self.growth_factor, self.backoff_factor = float(growth_factor), float(backoff_factor)
        self.growth_interval, self.enabled = growth_interval, enabled
        self._start = [float(init_scale), 0.0]
        self._state: tuple[Tensor, Tensor, Tensor] | None = None  # scale, good steps, found inf
        self._unscaled: set[int] = set()  # optimizers, until the next update

    def scale(self, loss: Tensor) -> Tensor:
        """Multiply a loss by the factor; call ``backward()`` on the result."""
        if not self.enabled:
            return loss
        return loss * self._on(loss.backend)[0]

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide an optimizer's gradients by the factor, in place, such as before clipping.

        `step` calls it if it was not called before.

        Raises
        ------
        OptionError
            If it was called twice since the last `update`.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._unscaled:
            raise OptionError("unscale_ was called twice for one optimizer. Call update in between")
        self._unscaled.add(id(optimizer))
        gradients = [
            p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None
        ]
        if gradients:
            backend = gradients[0].backend
            scale, _, found = self._on(backend)
            perform(_unscale, backend, [g.data for g in gradients], scale.data, found.data)
            for gradient in gradients:
                gradient.bump_version()

    def step(self, optimizer: Optimizer) -> None:
        """Call the optimizer's step, which is skipped if a gradient is infinite or NaN.

        This includes the gradients of all optimizers that were unscaled since the last `update`.
        """
        if not self.enabled:
            optimizer.step()
            return
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        optimizer.step(skip=None if self._state is None else self._state[2])

    def update(self) -> None:
        """Adapt the factor; to be called once, after the steps of all optimizers."""
        self._unscaled.clear()
        if self._state is not None:
            options = (self.growth_factor, self.backoff_factor, self.growth_interval)
            perform(_adapt, self._state[0].backend, *[t.data for t in self._state], *options)
            for t in self._state:
                t.bump_version()

    def get_scale(self) -> float:
        """Return the factor; waits for the device."""
        if not self.enabled:
            return 1.0
        return self._start[0] if self._state is None else float(self._state[0])

    def state_dict(self) -> dict[str, float]:
        """Return the factor and the number of good steps since its last change."""
        state = [float(t) for t in self._state[:2]] if self._state is not None else self._start
        return {"scale": state[0], "good_steps": state[1]}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Load the result of `state_dict`.

        Raises
        ------
        StateError
            If the names or the factor are wrong.
        """
        if set(state) != {"scale", "good_steps"} or not float(state["scale"]) > 0:
            raise StateError(f"a scaler's state has scale and good_steps. Received: {state!r}")
        self._start = [float(state["scale"]), float(state["good_steps"])]
        if self._state is not None:
            for t, value in zip(self._state, (*self._start, 0.0), strict=True):
                t[...] = value

    def _on(self, backend: Backend) -> tuple[Tensor, Tensor, Tensor]:
        """Return the factor, the number of good steps and the flag, on the backend."""
        if self._state is None or self._state[0].backend is not backend:
            if self._state is not None:
                self._start = list(self.state_dict().values())
            # made outside a trace, so that replays change these arrays
            values = [backend.asarray(v, dtype="float32", copy=True) for v in (*self._start, 0.0)]
            scale, steps, found = (Tensor(value, backend) for value in values)
            self._state = scale, steps, found
        return self._state

    def __repr__(self) -> str:
        return (
            f"GradScaler(growth_factor={self.growth_factor}, backoff_factor={self.backoff_factor}, "
            f"growth_interval={self.growth_interval}, enabled={self.enabled})"
        )


def _unscale(backend: Backend, gradients: list[Array], scale: Array, found: Array) -> None:
    """Divide gradients by the scale; leave 1 in ``found`` if one is not finite."""
    if call_update(backend, "unscale", gradients, scale, found) is not NotImplemented:
        return
    xp = backend.xp
    for gradient in gradients:
        gradient *= (1 / scale).astype(gradient.dtype)
        found[...] = xp.maximum(found, 1 - xp.isfinite(gradient).all().astype(found.dtype))


def _adapt(
    backend: Backend, scale: Array, steps: Array, found: Array,
    growth: float, backoff: float, interval: int,
) -> None:  # fmt: skip
    xp = backend.xp
    grown = steps + 1 >= interval
    scale[...] = scale * xp.where(found != 0, backoff, xp.where(grown, growth, 1.0))
    steps[...] = xp.where((found != 0) | grown, 0.0, steps + 1)
    found[...] = 0
