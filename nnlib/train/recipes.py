"""Defaults of ``nnlib train`` for each model, and optimizers and schedules by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nnlib import optim
from nnlib.data import transforms
from nnlib.errors import OptionError, did_you_mean
from nnlib.nn import Module
from nnlib.optim import schedules

__all__ = ["AUGMENTATIONS", "OPTIMIZERS", "RECIPES", "SCHEDULES", "Recipe", "recipe_for"]

OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": lambda parameters, **options: optim.SGD(
        parameters, momentum=0.9, nesterov=True, **options
    ),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": optim.RMSprop,
    "adagrad": optim.Adagrad,
}


def _cosine(optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler:
    return schedules.CosineAnnealingLR(optimizer, T_max=steps)


def _onecycle(optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler:
    lr = optimizer.param_groups[0]["lr"]
    return schedules.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, cycle_momentum=False)


def _warmup(optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler:
    up = max(1, steps // 20)
    rise = schedules.LinearLR(optimizer, start_factor=0.01, total_iters=up)
    fall = schedules.CosineAnnealingLR(optimizer, T_max=max(1, steps - up))
    return schedules.SequentialLR(optimizer, [rise, fall], milestones=[up])


def _warmup_tenth(optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler:
    up, lr = max(1, steps // 20), optimizer.param_groups[0]["lr"]
    rise = schedules.LinearLR(optimizer, start_factor=0.01, total_iters=up)
    fall = schedules.CosineAnnealingLR(optimizer, T_max=max(1, steps - up), eta_min=lr / 10)
    return schedules.SequentialLR(optimizer, [rise, fall], milestones=[up])


def _step(optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler:
    return schedules.StepLR(optimizer, step_size=max(1, steps // 3), gamma=0.1)


SCHEDULES: dict[str, Callable[[optim.Optimizer, int], schedules.LRScheduler | None]] = {
    "constant": lambda optimizer, steps: None,
    "cosine": _cosine,  # from the initial rate to 0
    "warmup": _warmup,  # up for a twentieth of the steps, then the cosine
    "warmup-tenth": _warmup_tenth,  # the same, but down to a tenth of the learning rate
    "onecycle": _onecycle,
    "step": _step,  # a tenth of it after each third of the steps
}
"""Name → function of an optimizer and the number of steps of the whole training."""

AUGMENTATIONS: dict[str, transforms.Transform | None] = {
    "none": None,
    "shift": transforms.pad_crop(2),  # up to 2 pixels each way
    "shift-flip": transforms.compose(transforms.pad_crop(4), transforms.flip()),
}


LEARNING_RATES = {"sgd": 0.05, "adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3, "adagrad": 1e-2}
"""What to begin with if only the optimizer is given."""


@dataclass(frozen=True)
class Recipe:
    """Default options for training a model.

    Attributes
    ----------
    optimizer, schedule, augment : str
        Names in `OPTIMIZERS`, `SCHEDULES`, `AUGMENTATIONS`.
    lr, weight_decay : float
    batch_size : int
    decay : {"all", "matrices"}
        Parameters with weight decay: all, or those of two and more axes, which excludes biases and
        the scales of normalisations.
    betas : (float, float), optional
        Of Adam and AdamW, if not their own.
    clip_norm : float, optional
        For the trainer.
    """

    optimizer: str
    lr: float
    weight_decay: float = 0.0
    batch_size: int = 64
    schedule: str = "cosine"
    augment: str = "none"
    decay: str = "all"
    betas: tuple[float, float] | None = None
    clip_norm: float | None = None

    def changed(self, **given: Any) -> Recipe:
        """Replace the given options; another optimizer without a learning rate gets a usual one.

        Examples
        --------
        >>> recipe_for("mlp").changed(optimizer="sgd", lr=None).lr
        0.05
        """
        given = {name: value for name, value in given.items() if value is not None}
        optimizer = given.get("optimizer", self.optimizer)
        if optimizer != self.optimizer and optimizer in LEARNING_RATES:
            given.setdefault("lr", LEARNING_RATES[optimizer])
            given.setdefault("betas", None)  # belong to the recipe's own optimizer
        return replace(self, **given)

    def make_optimizer(self, model: Module) -> optim.Optimizer:
        """Make the optimizer of a model.

        Examples
        --------
        >>> from nnlib import nn
        >>> optimizer = recipe_for("char-gpt").make_optimizer(nn.Linear(2, 3))
        >>> [group["weight_decay"] for group in optimizer.param_groups]
        [0.1, 0.0]
        """
        make = _lookup(OPTIMIZERS, self.optimizer, "optimizer")
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.betas is not None:
            options["betas"] = self.betas
        optimizer: optim.Optimizer = make(self._groups(model), **options)
        return optimizer

    def _groups(self, model: Module) -> list[Any]:
        parameters = list(model.parameters())
        if _lookup({"all": False, "matrices": True}, self.decay, "decay"):
            matrices = [p for p in parameters if p.ndim >= 2]
            others = {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}
            return [group for group in ({"params": matrices}, others) if group["params"]]
        return parameters

    def make_schedule(self, optimizer: optim.Optimizer, steps: int) -> schedules.LRScheduler | None:
        """Make the schedule for a training of that many steps."""
        make = _lookup(SCHEDULES, self.schedule, "schedule")
        schedule: schedules.LRScheduler | None = make(optimizer, steps)
        return schedule

    def transform(self) -> transforms.Transform | None:
        """Return the augmentation of training images."""
        change: transforms.Transform | None = _lookup(AUGMENTATIONS, self.augment, "augment")
        return change


RECIPES = {
    "mlp": Recipe("adam", lr=1e-3),
    "lenet": Recipe("sgd", lr=0.05, weight_decay=5e-4),
    "vgg": Recipe("sgd", lr=0.05, weight_decay=5e-4, batch_size=128, schedule="warmup"),
    "lstm-adding": Recipe("adam", lr=0.01, batch_size=10, clip_norm=1.0),
    "translate": Recipe(
        "adamw",
        lr=1.5e-3,
        weight_decay=0.01,
        batch_size=512,
        schedule="warmup",
        betas=(0.9, 0.98),
        clip_norm=1.0,
    ),  # its batches are counted in tokens
    "char-gpt": Recipe(
        "adamw",
        lr=2e-3,
        weight_decay=0.1,
        batch_size=12,
        schedule="warmup-tenth",
        decay="matrices",
        betas=(0.9, 0.99),
        clip_norm=1.0,
    ),
}
"""By the model's family: its name without a number."""


def recipe_for(model: str, examples: int = 60_000) -> Recipe:
    """Return the recipe of a model, for that many training examples.

    Examples
    --------
    >>> recipe_for("vgg16").optimizer
    'sgd'
    """
    recipe: Recipe = _lookup(RECIPES, model.rstrip("0123456789"), "model")
    if examples >= 10_000:
        return recipe
    # smaller batches, because an epoch would have too few steps: SGD's learning rate falls with
    # them, and Adam's, which does not depend on the batch, may rise
    lr = recipe.lr * (16 / recipe.batch_size if recipe.optimizer == "sgd" else 3)
    return replace(recipe, batch_size=16, lr=lr)


def _lookup(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        hint = did_you_mean(name, table)
        raise OptionError(f"{what} must be one of {', '.join(table)}. Received: {name!r}.{hint}")
    return table[name]
