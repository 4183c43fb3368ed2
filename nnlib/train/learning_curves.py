"""Learning curves: scores of models trained on subsets of growing size."""

from __future__ import annotations

import csv
import io
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nnlib import optim
from nnlib.arguments import positive_integer
from nnlib.autograd import Tensor
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import DataError, DTypeError, OptionError, StateError, did_you_mean
from nnlib.io import check_writable
from nnlib.nn import Module
from nnlib.optim.schedules import LRScheduler
from nnlib.random import Generator, default_generator, manual_seed
from nnlib.reading import expect, parsing, read_json
from nnlib.train.batches import Data, as_loader
from nnlib.train.callbacks import Callback
from nnlib.train.export import (
    PathLike,
    export_json,
    export_text,
    new_figure,
    save_figure,
    without_nan,
)
from nnlib.train.losses import LossFunction, get_loss
from nnlib.train.metrics import MetricLike, get_metric
from nnlib.train.progress import Progress, make_progress
from nnlib.train.recipes import SCHEDULES
from nnlib.train.subsets import Rows, passes, stratified_order
from nnlib.train.trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LearningCurve", "learning_curve"]

MakeModel: TypeAlias = Callable[[], Module]
MakeOptimizer: TypeAlias = Callable[[Iterable[Tensor]], optim.Optimizer]
MakeSchedule: TypeAlias = Callable[[optim.Optimizer, int], "LRScheduler | None"]

Scores = dict[str, npt.NDArray[np.float64]]
_ARRAYS = ("train_scores", "test_scores", "seconds")
_SETTINGS = ("metric", "models", "train_sizes", "seeds", "steps", "batch_size")


@dataclass(eq=False)
class LearningCurve:
    """Scores against the number of training examples; `learning_curve` makes it.

    Attributes
    ----------
    metric : str
        Name of the score.
    models : tuple of str
        Names.
    train_sizes : tuple of int
        Numbers of training examples, ascending.
    seeds : tuple of int
    steps : tuple of int
        Of every training with that many examples.
    batch_size : int
    train_scores, test_scores : dict of array, float64 (sizes, seeds)
        For each model: of the examples that it was trained on, and of the test examples, after the
        last step.  NaN where a training has not been done.
    seconds : dict of array, float64 (sizes, seeds)
        Wall time of the trainings; of the first one with what is compiled then.
    parameters : dict of int
        Number of trained values of each model.
    backend : str
        Where it ran.
    machine : dict
        Device, cores, libraries (`nnlib.backend_info`).

    Examples
    --------
    >>> curve = LearningCurve("accuracy", ("small",), (10, 100), (0, 1), (50, 50), 8)
    >>> curve.test_scores["small"][:] = [[0.5, 0.6], [0.8, 0.84]]
    >>> print(curve.table())
    test accuracy: mean ± standard deviation of 2 seeds
    examples  steps            small
    ────────  ─────  ───────────────
          10     50  0.5500 ± 0.0707
         100     50  0.8200 ± 0.0283
    """

    metric: str
    models: tuple[str, ...]
    train_sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    batch_size: int
    train_scores: Scores = field(default_factory=dict)
    test_scores: Scores = field(default_factory=dict)
    seconds: Scores = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    backend: str = ""
    machine: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.train_sizes), len(self.seeds))
        for name in _ARRAYS:
            given = getattr(self, name)
            setattr(self, name, {m: given.get(m, np.full(shape, np.nan)) for m in self.models})

    # Over the seeds --------------------------------------------------------------------------

    @property
    def test_mean(self) -> Scores:
        """Mean of `test_scores` over the seeds, (sizes,) for each model."""
        return {name: _mean(scores) for name, scores in self.test_scores.items()}

    @property
    def test_std(self) -> Scores:
        """Standard deviation over the seeds (n − 1), (sizes,) for each model; NaN for one seed."""
        return {name: _std(scores) for name, scores in self.test_scores.items()}

    def table(self, *, train: bool = False) -> str:
        """Write means and standard deviations as text: a line a size, a column a model.

        Parameters
        ----------
        train : bool
            Of `train_scores`.
        """
        scores = self.train_scores if train else self.test_scores
        head = [["examples", "steps", *self.models]]
        columns = [_column(scores[name]) for name in self.models]
        rows = [
            [f"{size:,}", f"{steps:,}", *cells]
            for size, steps, *cells in zip(self.train_sizes, self.steps, *columns, strict=True)
        ]
        if self.parameters:
            counts = (f"{self.parameters.get(name, 0):,}" for name in self.models)
            head.append(["", "", *(f"({count} parameters)" for count in counts)])
        seeds = f"mean ± standard deviation of {len(self.seeds)} seeds"
        of = f"{'training' if train else 'test'} {self.metric.replace('_', ' ')}: "
        return of + (seeds if len(self.seeds) > 1 else "one seed") + "\n" + _aligned(head, rows)

    # To and from files -----------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return everything as lists, dicts and numbers; None for a score that is not there."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in _ARRAYS:
            values[name] = {m: without_nan(scores.tolist()) for m, scores in values[name].items()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LearningCurve:
        """Undo `to_dict`.

        Raises
        ------
        FileFormatError
            If it is something else.
        """
        return cls._read(values, "the values")

    @classmethod
    def _read(cls, values: dict[str, Any], source: PathLike) -> LearningCurve:
        with parsing(source, "a learning curve"):
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            expect("models", values["models"], tuple, (str,))
            for name in ("train_sizes", "seeds", "steps"):
                expect(name, values[name], tuple, (int,))
            expect("metric", values["metric"], str)
            expect("batch_size", values["batch_size"], int)
            expect("parameters", values.get("parameters", {}), dict, (int,))
            expect("machine", values.get("machine", {}), dict)
            expect("backend", values.get("backend", ""), str)
            shape = (len(values["train_sizes"]), len(values["seeds"]))
            if len(values["steps"]) != shape[0]:
                raise ValueError(f"{len(values['steps'])} numbers of steps for {shape[0]} sizes")
            for name in _ARRAYS:
                scores = {m: np.array(rows, np.float64) for m, rows in values[name].items()}
                if set(scores) != set(values["models"]):
                    raise ValueError(f"{name} of {', '.join(scores)}")
                if any(s.shape != shape for s in scores.values()):
                    raise ValueError(f"{name} that have not the shape {shape}")
                values[name] = scores
            return cls(**values)

    def to_json(self, path: PathLike | None = None) -> str:
        """Return it as JSON text, and write that to a file if a path is given."""
        return export_json(self.to_dict(), path)

    @classmethod
    def from_json(cls, path: PathLike) -> LearningCurve:
        """Read what `to_json` wrote.

        Raises
        ------
        InputError, FileFormatError
            If the file cannot be read, or is no learning curve.
        """
        return cls._read(read_json(path, "a learning curve"), path)

    def to_csv(self, path: PathLike | None = None) -> str:
        """Return every training as a line of CSV, and write that to a file if a path is given."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        scores = [f"{part}_{self.metric}" for part in ("train", "test")]
        writer.writerow(["model", "train_size", "steps", "seed", *scores, "seconds"])
        for name in self.models:
            for i, (size, steps) in enumerate(zip(self.train_sizes, self.steps, strict=True)):
                for j, seed in enumerate(self.seeds):
                    numbers = (f"{getattr(self, part)[name][i, j]:.6g}" for part in _ARRAYS)
                    writer.writerow([name, size, steps, seed, *numbers])
        return export_text(text.getvalue(), path)

    def check_same(self, other: LearningCurve) -> None:
        """Make sure that both are of the same models, sizes, seeds and budget.

        Raises
        ------
        StateError
            If not; it names the first difference.
        """
        for name in _SETTINGS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise StateError(
                    f"a learning curve must be continued with the same {name}, {theirs!r}. "
                    f"Received: {mine!r}. Repeat the arguments, or give another path"
                )

    # Pictures --------------------------------------------------------------------------------

    def plot(
        self, path: PathLike | None = None, *, train: bool = False, yscale: str = "linear"
    ) -> Figure:
        """Draw the scores against the number of examples: a line a model, error bars over seeds.

        Parameters
        ----------
        path : path, optional
            Save it there, in the format of its ending (png, svg, pdf).
        train : bool
            Also draw the training scores, dashed.
        yscale : {"linear", "log"}
            Logarithmic suits errors.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        figure = new_figure("LearningCurve.plot", 6.4, 4.2)
        self.draw(figure.subplots(), train=train, yscale=yscale)
        return save_figure(figure, path)

    def draw(self, axes: Any, *, train: bool = False, yscale: str = "linear") -> None:
        """Draw as `plot` does, into matplotlib axes of your own."""
        for i, name in enumerate(self.models):
            count = self.parameters.get(name)
            label = name if count is None else f"{name}: {count:,} parameters"
            bars = None if len(self.seeds) < 2 else self.test_std[name]
            axes.errorbar(
                self.train_sizes, self.test_mean[name], bars,
                marker="o", markersize=4, capsize=3, color=f"C{i}", label=label,
            )  # fmt: skip
            if train:
                axes.plot(self.train_sizes, _mean(self.train_scores[name]), "--", color=f"C{i}")
        axes.set(xscale="log", yscale=yscale, xlabel="training examples")
        axes.set_ylabel(f"test {self.metric.replace('_', ' ')}" + (" (dashed: training)" * train))
        if len(self.train_sizes) <= 8:
            axes.set_xticks(self.train_sizes, [f"{size:,}" for size in self.train_sizes])
            axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False)

    def __repr__(self) -> str:
        done = sum(int(np.isfinite(scores).sum()) for scores in self.seconds.values())
        of = len(self.models) * len(self.train_sizes) * len(self.seeds)
        return f"LearningCurve({self.metric} of {', '.join(self.models)}; {done} of {of} trainings)"


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
    path: PathLike | None = None,
    progress: bool = True,
    compile: bool = True,
) -> LearningCurve:
    """Train models on subsets of growing size, and score each on the same test data.

    The subsets of a seed are nested, stratified by class, and the same for all models, as are
    the batches.  Each training begins with new weights.

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
        Each determines the subsets, the order of samples, and the initial weights; n means
        0 … n − 1.
    steps, epochs : int
        The budget of a training; one of them is required.  ``steps``: the same number of updates
        for every size, so that the sizes differ in their data only, which is the fair choice if
        the largest set gets enough (steps × batch_size / size passes).
        ``epochs``: the same number of passes, so that training on less data also stops earlier.
    batch_size : int
        Size of all batches: a batch may contain the end of a pass and the beginning of the next.
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
        Save the results here as JSON, after every training.  Trainings in an existing file are
        not repeated: after Ctrl-C (which waits for the end of a step) the same call continues.
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
    """The parts of a training."""

    models: Mapping[str, MakeModel]
    optimizer: MakeOptimizer
    schedule: MakeSchedule
    loss: LossFunction
    metrics: Sequence[MetricLike]
    compile: bool

    def trainer(self, name: str, seed: int, steps: int, callback: Callback) -> Trainer:
        """Make a new model and its trainer."""
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
    path: PathLike | None
    progress: Progress

    def run(self) -> None:
        """Run the missing trainings."""
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

    def _one(self, name: str, index: tuple[int, int], rows: Any, subset: Any) -> None:
        """Run one training, add its results to the curve, and save it."""
        curve = self.curve
        self.number += 1
        if np.isfinite(curve.seconds[name][index]):
            return
        steps, seed = curve.steps[index[0]], curve.seeds[index[1]]
        self.progress.begin_epoch(self.number, steps)
        trainer = self.parts.trainer(name, seed, steps, _Bar(self.progress))
        self._check_model(name, trainer.model)
        history = trainer.fit(DataLoader(Rows(self.train, rows), curve.batch_size))
        seen = trainer.evaluate(Rows(self.train, subset))[curve.metric]
        score = trainer.evaluate(self.test)[curve.metric]
        curve.train_scores[name][index], curve.test_scores[name][index] = seen, score
        curve.seconds[name][index] = history["seconds"][0]
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
    """Callback that advances the progress bar."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, trainer: Trainer) -> None:
        self.progress.advance()

    def on_read(self, trainer: Trainer, losses: list[float]) -> None:
        self.progress.show(losses[-1])


@contextmanager
def _stream_kept() -> Iterator[None]:
    """Restore the process-wide random stream at the end of a ``with`` block."""
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
    """Return the number of samples of every size: integers, or shares of all."""
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
    """Number of updates of each size."""
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


# Over the seeds ------------------------------------------------------------------------------


def _mean(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the finished seeds; NaN where there is none."""
    known = np.isfinite(scores)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, scores, 0.0).sum(axis=1) / count
    return np.asarray(np.where(known.any(axis=1), mean, np.nan))


def _std(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = np.isfinite(scores)
    squares = np.where(known, (scores - _mean(scores)[:, None]) ** 2, 0.0).sum(axis=1)
    several = known.sum(axis=1) > 1
    return (
        np.asarray(np.where(several, squares / np.maximum(known.sum(axis=1) - 1, 1), np.nan)) ** 0.5
    )


def _column(scores: npt.NDArray[np.float64]) -> list[str]:
    """Format means and deviations, with as many digits as the smallest mean needs."""
    means, deviations = _mean(scores), _std(scores)
    digits = ".4f" if np.nanmin(np.abs(means), initial=1.0) >= 0.001 else ".2e"
    cells = []
    for mean, deviation in zip(means, deviations, strict=True):
        spread = f" ± {deviation:{digits}}" if np.isfinite(deviation) else ""
        cells.append(f"{mean:{digits}}{spread}" if np.isfinite(mean) else "–")
    return cells


def _aligned(head: list[list[str]], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*head, *rows, strict=True)]
    lines = [*head, ["─" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
