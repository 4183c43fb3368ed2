"""How much more data would help: models trained on more and more examples of the same data."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from nnlib import optim
from nnlib.autograd import Tensor
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, DTypeError, OptionError, StateError, did_you_mean
from nnlib.io import check_writable
from nnlib.nn import Module
from nnlib.optim.options import positive_integer
from nnlib.optim.schedules import LRScheduler
from nnlib.random import Generator, default_generator, manual_seed
from nnlib.train.batches import Data, as_loader
from nnlib.train.callbacks import Callback
from nnlib.train.curve import LearningCurve
from nnlib.train.losses import LossFunction, get_loss
from nnlib.train.metrics import MetricLike, get_metric
from nnlib.train.progress import Progress, make_progress
from nnlib.train.recipes import SCHEDULES
from nnlib.train.subsets import Rows, passes, stratified_order
from nnlib.train.trainer import Trainer

__all__ = ["learning_curve"]

MakeModel: TypeAlias = Callable[[], Module]
MakeOptimizer: TypeAlias = Callable[[Iterable[Tensor]], optim.Optimizer]
MakeSchedule: TypeAlias = Callable[[optim.Optimizer, int], "LRScheduler | None"]


def learning_curve(
    model_factory: MakeModel | Mapping[str, MakeModel],
    data: tuple[Data, Data],
    train_sizes: Sequence[int | float],
    seeds: int | Sequence[int] = 3,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 32,
    loss: str | LossFunction = "cross_entropy",
    metric: MetricLike = "accuracy",
    optimizer: MakeOptimizer = optim.Adam,
    schedule: str | MakeSchedule = "constant",
    path: str | os.PathLike[str] | None = None,
    progress: bool = True,
    compile: bool = True,
) -> LearningCurve:
    """Train models on more and more examples, and score each on the same test data.

    The subsets of a seed are nested, contain every class in its share of the whole, and are the
    same for all models, as are the batches.  Each training begins with new weights.

    Parameters
    ----------
    model_factory : callable, or dict of callables
        Makes a new model each time: ``lambda: MLP((784, 100, 10))``.  Several by name are drawn
        together.
    data : (train, test)
        As ``nnlib.data.mnist()`` returns it: ``train`` is a dataset or a tuple of arrays (x, y),
        ``test`` anything that `Trainer.evaluate` takes.
    train_sizes : sequence of int or float
        Numbers of examples; a float in (0, 1] is a share of all (1 is one example, 1.0 all).
    seeds : int or sequence of int
        Each decides a choice of examples, their order, and the initial weights; n stands for
        0 … n − 1.
    steps, epochs : int
        The budget of a training; one of them must be given.  ``steps``: as many updates of the
        weights for every size, so that the sizes differ in their data and in nothing else: the
        honest choice, if the largest set gets enough (steps × batch_size / size passes).
        ``epochs``: as many passes, so that training on less data also stops earlier.
    batch_size : int
        Every batch has it: passes run on into each other, also within a batch.
    loss : str or callable
        As for `Trainer`.
    metric : str, Metric or callable
        The score: as for `Trainer`, or ``"loss"``.
    optimizer : callable
        Parameters → optimizer: a class, or ``lambda p: optim.SGD(p, lr=0.1, momentum=0.9)``.
    schedule : str or callable
        Of the learning rate, by steps: ``"constant"``, ``"cosine"``, ``"warmup"``, ``"onecycle"``,
        ``"step"``, or a function (optimizer, steps) → schedule.
    path : path, optional
        Keep the results here as JSON, after every training.  If the file exists, its trainings are
        not done again: after Ctrl-C (which waits for the end of a step) the same call goes on.
    progress, compile : bool
        As for `Trainer`.

    Returns
    -------
    LearningCurve
        With ``train_sizes``, ``train_scores`` and ``test_scores``, as scikit-learn's function of
        this name has them, but by model: ``test_scores[name]`` is (sizes, seeds).

    Raises
    ------
    OptionError, DTypeError, DataError
        If an argument cannot be used; before anything is trained.
    StateError
        If ``path`` holds a learning curve of other arguments.
    NonFiniteError
        If a training diverges.

    See Also
    --------
    LearningCurve.table, LearningCurve.plot

    Examples
    --------
    >>> import nnlib
    >>> from nnlib import models, optim
    >>> curve = learning_curve(lambda: models.MLP((64, 16, 10)), nnlib.data.digits(), [50, 500],
    ...                        seeds=2, steps=200, optimizer=lambda p: optim.Adam(p, lr=0.01),
    ...                        progress=False)
    >>> curve.test_scores["model"].shape
    (2, 2)
    >>> few, many = curve.test_mean["model"]
    >>> bool(few < many)
    True
    """
    factories = _factories(model_factory)
    train, test = _data(data)
    sizes = _sizes(train_sizes, len(train))
    positive_integer("batch_size", batch_size)
    curve = LearningCurve(
        metric="loss" if metric == "loss" else get_metric(metric).name,
        models=tuple(factories),
        train_sizes=sizes,
        seeds=_seeds(seeds),
        steps=_steps(sizes, batch_size, steps, epochs),
        batch_size=batch_size,
    )
    if path is not None:
        check_writable(Path(path))
        if Path(path).exists():
            found = LearningCurve.from_json(path)
            curve.check_same(found)
            curve = found
    metrics = [] if metric == "loss" else [metric]
    parts = _Parts(factories, optimizer, _schedule(schedule), get_loss(loss), metrics, compile)
    study = _Study(curve, parts, train, test, path, make_progress(progress))
    with _stream_kept():
        study.run()
    return curve


@dataclass(frozen=True)
class _Parts:
    """What a training is put together from."""

    models: Mapping[str, MakeModel]
    optimizer: MakeOptimizer
    schedule: MakeSchedule
    loss: LossFunction
    metrics: Sequence[MetricLike]
    compile: bool

    def trainer(self, name: str, seed: int, steps: int, callback: Callback) -> Trainer:
        """Make a new model, and all that trains it."""
        manual_seed(seed)
        model = self.models[name]()
        if not isinstance(model, Module):
            raise DTypeError(
                f"the factory of {name!r} must return an nn.Module. It returned: {model!r}"
            )
        optimizer = self.optimizer(model.parameters())
        if not isinstance(optimizer, optim.Optimizer):
            raise DTypeError(
                "optimizer must be a function of the parameters that returns an optimizer, such "
                f"as optim.Adam. It returned: {optimizer!r}"
            )
        return Trainer(
            model, self.loss, optimizer, self.metrics,
            schedule=self.schedule(optimizer, steps), schedule_every="step",
            callbacks=[callback], progress=False, compile=self.compile,
        )  # fmt: skip


@dataclass
class _Study:
    """All trainings of a learning curve, one after the other."""

    curve: LearningCurve
    parts: _Parts
    train: ArrayDataset
    test: Data
    path: str | os.PathLike[str] | None
    progress: Progress

    def run(self) -> None:
        """Do the trainings that are missing."""
        curve, batch = self.curve, self.curve.batch_size
        targets = self.train.backend.to_numpy(self.train.arrays[-1])
        self.last: dict[str, weakref.ref[Module]] = {}
        self.number = 0
        self.total = len(curve.seeds) * len(curve.train_sizes) * len(curve.models)
        self.progress.begin(self.total, "training")
        try:
            for j, seed in enumerate(curve.seeds):
                generator = Generator(seed + 2**63)  # not the stream of the weights
                order = stratified_order(targets, generator)
                for i, (size, steps) in enumerate(zip(curve.train_sizes, curve.steps, strict=True)):
                    subset = np.sort(order[:size])
                    rows = passes(subset, steps * batch, generator)
                    for name in curve.models:
                        self._one(name, (i, j), rows, subset)
        finally:
            self.progress.end()

    def _one(self, name: str, place: tuple[int, int], rows: Any, subset: Any) -> None:
        """Do one training, write its results into the curve, and that to the file."""
        curve = self.curve
        self.number += 1
        if np.isfinite(curve.seconds[name][place]):
            return
        steps, seed = curve.steps[place[0]], curve.seeds[place[1]]
        self.progress.begin_epoch(self.number, steps)
        trainer = self.parts.trainer(name, seed, steps, _Bar(self.progress))
        self._check_model(name, trainer.model)
        history = trainer.fit(DataLoader(Rows(self.train, rows), curve.batch_size))
        seen = trainer.evaluate(Rows(self.train, subset))[curve.metric]
        score = trainer.evaluate(self.test)[curve.metric]
        curve.train_scores[name][place], curve.test_scores[name][place] = seen, score
        curve.seconds[name][place] = history["seconds"][0]
        curve.backend, curve.machine = history.backend, history.machine
        if self.path is not None:
            curve.to_json(self.path)
        self.progress.note(
            f"training {self.number:{len(str(self.total))}}/{self.total}  {name}  "
            f"{len(subset):,} examples  seed {seed}  {curve.metric} {score:.4f} "
            f"(training {seen:.4f})  {history['seconds'][0]:.1f} s"
        )

    def _check_model(self, name: str, model: Module) -> None:
        last = self.last.get(name)
        if last is not None and last() is model:
            raise OptionError(
                f"the factory of {name!r} must make a new model each time. It returned the one "
                "that is trained already. Make it inside the function: lambda: MLP(…)"
            )
        self.last[name] = weakref.ref(model)
        count = sum(p.size for p in model.parameters() if p.requires_grad)
        if self.curve.parameters.setdefault(name, count) != count:
            raise StateError(
                f"every {name!r} must have {self.curve.parameters[name]:,} parameters, as the "
                f"first one had. Received: {count:,}"
            )


class _Bar(Callback):
    """Moves the bar."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, trainer: Trainer) -> None:
        self.progress.advance()

    def on_read(self, trainer: Trainer, losses: list[float]) -> None:
        self.progress.show(losses[-1])


@contextmanager
def _stream_kept() -> Iterator[None]:
    """Leave the process-wide random stream as it was."""
    state = default_generator.state_dict()
    try:
        yield
    finally:
        default_generator.load_state_dict(state)


# Arguments -----------------------------------------------------------------------------------


def _factories(given: Any) -> dict[str, MakeModel]:
    factories = dict(given) if isinstance(given, Mapping) else {"model": given}
    if not factories:
        raise OptionError("model_factory must have at least one model. Received: an empty mapping")
    for name, make in factories.items():
        if isinstance(make, Module) or not callable(make) or not isinstance(name, str):
            hint = " (a model: write lambda: …)" if isinstance(make, Module) else ""
            raise DTypeError(
                "model_factory must be a function that makes a new model, or a mapping of names to "
                f"such functions. Received: {name!r}: {type(make).__name__}{hint}"
            )
    return factories


def _data(given: Any) -> tuple[ArrayDataset, Data]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise DataError(
            "data must be two, (train, test), as nnlib.data.digits() returns it. "
            f"Received: {type(given).__name__}"
        )
    train, test = given
    if isinstance(train, tuple) and len(train) > 1:
        train = ArrayDataset(*train)
    if not isinstance(train, ArrayDataset) or len(train.arrays) < 2 or not len(train):
        hint = " (give its dataset)" if isinstance(train, DataLoader) else ""
        raise DataError(
            "the training data must be an ArrayDataset or a tuple of arrays, inputs and targets: "
            f"subsets are taken of it. Received: {train!r}{hint}"
        )
    as_loader(test, 256, shuffle=False)
    return train, test


def _sizes(given: Sequence[int | float], available: int) -> tuple[int, ...]:
    """Count the examples of every size: whole numbers, or shares of all."""
    sizes = []
    for size in given:
        known = isinstance(size, Real) and not isinstance(size, bool)
        count = -1 if not known else size if isinstance(size, Integral) else size * available
        if not 0.5 <= count <= available:
            raise OptionError(
                f"train_sizes must be whole numbers in 1 … {available} (all training examples), or "
                f"shares in 0 … 1 of them. Received: {size!r}"
            )
        sizes.append(round(count))
    if not sizes:
        raise OptionError("train_sizes must name at least one size. Received: none")
    return tuple(sorted(set(sizes)))


def _seeds(given: int | Sequence[int]) -> tuple[int, ...]:
    if not isinstance(given, Sequence):
        return tuple(range(positive_integer("seeds", given)))
    seeds = tuple(given)
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= s < 2**63 for s in seeds):
        raise OptionError(f"seeds must be different whole numbers ≥ 0. Received: {given!r}")
    return seeds


def _steps(
    sizes: Sequence[int], batch_size: int, steps: int | None, epochs: int | None
) -> tuple[int, ...]:
    """How many updates each size gets."""
    if (steps is None) == (epochs is None):
        raise OptionError(
            "the budget of a training must be given as steps or as epochs (steps: equally many "
            f"updates for every size). Received: steps={steps}, epochs={epochs}"
        )
    if steps is not None:
        return (positive_integer("steps", steps),) * len(sizes)
    passes = positive_integer("epochs", epochs)
    return tuple(max(1, round(passes * size / batch_size)) for size in sizes)


def _schedule(given: str | MakeSchedule) -> MakeSchedule:
    if callable(given):
        return given
    if given not in SCHEDULES:
        raise OptionError(
            f"schedule must be one of {', '.join(SCHEDULES)}, or a function (optimizer, steps). "
            f"Received: {given!r}.{did_you_mean(given, SCHEDULES)}"
        )
    return SCHEDULES[given]
