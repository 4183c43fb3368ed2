"""What a learning curve is: scores of models against the number of training examples."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnlib.errors import StateError, missing_extra
from nnlib.io import writing
from nnlib.reading import expect, parsing, read_json
from nnlib.train.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LearningCurve"]

PathLike = str | os.PathLike[str]
Scores = dict[str, npt.NDArray[np.float64]]
_ARRAYS = ("train_scores", "test_scores", "seconds")
_SETTINGS = ("metric", "models", "train_sizes", "seeds", "steps", "batch_size")


@dataclass(eq=False)
class LearningCurve:
    """Scores against the number of training examples; `learning_curve` makes it.

    Attributes
    ----------
    metric : str
        What the scores are.
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
        How many numbers each model learns.
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
            values[name] = {m: _without_nan(scores) for m, scores in values[name].items()}
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
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        if path is not None:
            write_text(Path(path), text)
        return text

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
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        scores = [f"{part}_{self.metric}" for part in ("train", "test")]
        writer.writerow(["model", "train_size", "steps", "seed", *scores, "seconds"])
        for name in self.models:
            for i, (size, steps) in enumerate(zip(self.train_sizes, self.steps, strict=True)):
                for j, seed in enumerate(self.seeds):
                    numbers = (f"{getattr(self, part)[name][i, j]:.6g}" for part in _ARRAYS)
                    writer.writerow([name, size, steps, seed, *numbers])
        if path is not None:
            write_text(Path(path), text.getvalue())
        return text.getvalue()

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
                    f"a learning curve is gone on with by the same {name}, {theirs!r}. "
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
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_extra("LearningCurve.plot needs matplotlib", "plot") from error
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        self.draw(figure.subplots(), train=train, yscale=yscale)
        if path is not None:
            with writing(path) as file:
                figure.savefig(file, format=Path(path).suffix[1:] or "png", dpi=150)
        return figure

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


def _mean(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the seeds that are there; NaN where there is none."""
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
    """Means with their deviations, as many digits as the smallest mean needs."""
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


def _without_nan(scores: npt.NDArray[np.float64]) -> list[Any]:
    return [[value if np.isfinite(value) else None for value in row] for row in scores.tolist()]
