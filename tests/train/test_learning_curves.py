import csv
import io
import json
import sys
from functools import partial

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import (
    DataError,
    DTypeError,
    FileFormatError,
    MissingExtraError,
    OptionError,
    StateError,
)
from nnlib.models import MLP
from nnlib.train import Callback, LearningCurve, Trainer, learning_curve, learning_curves


@pytest.fixture
def data(points):
    x, y = points
    return ArrayDataset(x[:40], y[:40]), (x[40:], y[40:])


@pytest.fixture
def curve_of(data):
    """A function: learning_curve with small settings, unless others are given."""

    def make(models=None, data=data, train_sizes=(6, 40), seeds=2, **options):
        models = {"narrow": lambda: MLP((4, 3)), "wide": lambda: MLP((4, 8, 3))} | (models or {})
        options = {"steps": 4, "batch_size": 8, "progress": False} | options
        return learning_curve(models, data, train_sizes, seeds, **options)

    return make


def test_result(curve_of, backend):
    curve = curve_of()
    assert (curve.models, curve.train_sizes, curve.seeds) == (("narrow", "wide"), (6, 40), (0, 1))
    assert curve.parameters == {"narrow": 15, "wide": 67}
    assert curve.backend == backend.name
    for scores in (*curve.test_scores.values(), *curve.train_scores.values()):
        assert scores.shape == (2, 2)
        assert ((scores >= 0) & (scores <= 1)).all()
    assert all((seconds > 0).all() for seconds in curve.seconds.values())


def test_scores_are_those_of_a_training_by_hand(curve_of, data):
    """On all examples, in one batch: then the order of the examples does not matter."""
    train, test = data
    curve = curve_of(
        {"wide": lambda: MLP((4, 8, 3))}, train_sizes=[1.0], seeds=[5], steps=30, batch_size=40,
        optimizer=partial(optim.SGD, lr=0.5), schedule="cosine", metric="loss",
    )  # fmt: skip
    nnlib.manual_seed(5)
    model = MLP((4, 8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    schedule = optim.schedules.CosineAnnealingLR(optimizer, T_max=30)
    trainer = Trainer(model, "cross_entropy", optimizer, schedule=schedule, progress=False)
    trainer.fit(DataLoader(train, 40), epochs=30)
    assert curve.test_scores["wide"][0, 0] == pytest.approx(trainer.evaluate(test)["loss"], 1e-4)
    assert curve.train_scores["wide"][0, 0] == pytest.approx(trainer.evaluate(train)["loss"], 1e-4)


@pytest.fixture
def trainings(monkeypatch):
    """What each training sees: its batches of labels, its first weights, its recordings."""
    seen = []

    class Watched(Trainer):
        def fit(self, loader):
            batches = [(x.numpy(), y.numpy()) for x, y in loader]
            seen.append((batches, self.model.state_dict(), self))
            return super().fit(loader)

    monkeypatch.setattr(learning_curves, "Trainer", Watched)
    return seen


def test_subsets_are_nested_and_the_same_for_all_models(curve_of, trainings):
    curve_of(train_sizes=(6, 12, 40), seeds=[3], steps=10)
    rows = [[tuple(row) for x, _ in batches for row in x.tolist()] for batches, *_ in trainings]
    for narrow, wide in zip(rows[::2], rows[1::2], strict=True):
        assert narrow == wide, "same batches"
    six, twelve, everything = (set(narrow) for narrow in rows[::2])
    assert (len(six), len(twelve), len(everything)) == (6, 12, 40)
    assert six < twelve < everything
    labels = {tuple(x): y for b, *_ in trainings for xs, ys in b for x, y in
              zip(xs.tolist(), ys.tolist(), strict=True)}  # fmt: skip
    assert sorted(labels[row] for row in six) == [0, 0, 1, 1, 2, 2]


def test_all_batches_have_one_shape_so_there_is_one_recording(curve_of, trainings):
    curve_of(train_sizes=(5, 39), seeds=1, steps=9)
    assert len(trainings) == 4
    for batches, _, trainer in trainings:
        assert [len(y) for _, y in batches] == [8] * 9
        assert trainer.step == 9
        assert len(trainer.stepper._train._specializations) == 1


def test_seeds_decide_subset_and_weights(curve_of, trainings):
    def sums():
        return [float(sum(abs(v.numpy()).sum() for v in w.values())) for _, w, _ in trainings]

    first = curve_of(seeds=[1, 2], train_sizes=[6])
    weights = sums()
    assert weights[0] != weights[2]
    again = curve_of(seeds=[2], train_sizes=[6])
    np.testing.assert_array_equal(again.test_scores["wide"][:, 0], first.test_scores["wide"][:, 1])


def test_epochs_are_a_budget_in_passes(curve_of, trainings):
    curve = curve_of(steps=None, epochs=3, seeds=1)
    assert curve.steps == (2, 15)  # 3 · 6 / 8 and 3 · 40 / 8
    assert [trainer.step for *_, trainer in trainings] == [2, 2, 15, 15]


def test_sizes_may_be_shares(curve_of):
    assert curve_of(train_sizes=[1.0, 0.25, 7, 10], seeds=1).train_sizes == (7, 10, 40)


def test_the_random_stream_is_left_as_it_was(curve_of):
    before = nnlib.manual_seed(11).state_dict()
    curve_of(seeds=1)
    assert nnlib.random.default_generator.state_dict() == before


def test_one_model_regression_and_a_metric_of_its_own(data):
    x = data[0].arrays[0]

    def bias(output, target):
        return (output - target).mean()

    curve = learning_curve(
        lambda: nn.Linear(3, 1), (ArrayDataset(x[:, :3], x[:, 3:]), [(x[:8, :3], x[:8, 3:])]),
        [20], 1, steps=3, loss="mse", metric=bias, progress=False,
    )  # fmt: skip
    assert curve.models == ("model",)
    assert curve.metric == "bias"
    assert "test bias" in curve.table()


class PressCtrlC(Callback):
    """In the fifth training, in the middle."""

    def __init__(self, bar):
        self.bar = bar

    def on_step_end(self, trainer):
        self.bar.on_step_end(trainer)
        PressCtrlC.steps += 1
        if PressCtrlC.steps == 4 * 4 + 2:
            PressCtrlC.press()


def test_interrupted_and_gone_on_with(curve_of, tmp_path, monkeypatch, control_c):
    whole = curve_of()
    path = tmp_path / "run" / "curve.json"
    PressCtrlC.steps, PressCtrlC.press = 0, staticmethod(control_c)
    bar = learning_curves._Bar
    with monkeypatch.context() as patch:
        patch.setattr(learning_curves, "_Bar", lambda progress: PressCtrlC(bar(progress)))
        with pytest.raises(KeyboardInterrupt):
            curve_of(path=path)
    partly = nnlib.train.LearningCurve.from_json(path)
    assert "4 of 8 trainings" in repr(partly)
    finished = curve_of(path=path)
    for name in whole.models:
        np.testing.assert_array_equal(finished.test_scores[name], whole.test_scores[name])
    np.testing.assert_array_equal(finished.seconds["wide"][:, 0], partly.seconds["wide"][:, 0])
    assert nnlib.train.LearningCurve.from_json(path).to_dict() == finished.to_dict()


def test_a_file_of_other_settings(curve_of, tmp_path):
    path = tmp_path / "curve.json"
    curve_of(path=path, seeds=1)
    with pytest.raises(StateError, match="same seeds"):
        curve_of(path=path, seeds=2)
    values = json.loads(path.read_text())
    values["seconds"]["wide"] = [[None], [None]]
    path.write_text(json.dumps(values))
    with pytest.raises(StateError, match="67 parameters"):
        curve_of({"wide": lambda: MLP((4, 9, 3))}, path=path, seeds=1)


def test_progress_says_what_is_done(curve_of, capsys):
    curve_of(progress=True, seeds=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("training 2/4  wide  6 examples  seed 0  accuracy 0.")


MODEL = MLP((4, 3))


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (DTypeError, "write lambda", {"models": {"m": MODEL}}),
        (DTypeError, "must return an nn.Module", {"models": {"m": lambda: 5}}),
        (OptionError, "new model each time", {"models": {"m": lambda: MODEL}}),
        (OptionError, "steps or as epochs", {"steps": None}),
        (OptionError, "steps or as epochs", {"epochs": 5}),
        (OptionError, "steps must be a positive", {"steps": 0}),
        (OptionError, "batch_size", {"batch_size": 0}),
        (OptionError, r"1 … 40 .*Received: 41", {"train_sizes": [41]}),
        (OptionError, "Received: 1.5", {"train_sizes": [1.5]}),
        (OptionError, "Received: True", {"train_sizes": [True]}),
        (OptionError, "at least one size", {"train_sizes": []}),
        (OptionError, "seeds", {"seeds": 0}),
        (OptionError, "different", {"seeds": [1, 1]}),
        (OptionError, "different", {"seeds": [-1]}),
        (OptionError, "Did you mean 'accuracy'", {"metric": "acuracy"}),
        (OptionError, "Did you mean 'cosine'", {"schedule": "cosin"}),
        (OptionError, "a loss must be", {"loss": "nll"}),
        (DTypeError, "returns an optimizer", {"optimizer": lambda p: "adam"}),
        (DataError, r"\(train, test\)", {"data": 5}),
        (DataError, "give its dataset", {"data": (DataLoader(ArrayDataset(np.eye(2))), ())}),
        (DataError, "inputs and targets", {"data": (ArrayDataset(np.eye(2)), ())}),
        (DataError, "a list of batches", {"data": ((np.eye(40), np.arange(40)), 5)}),
    ],
)  # fmt: skip
def test_errors_say_what_must_hold(curve_of, error, match, options):
    with pytest.raises(error, match=match):
        curve_of(**options)


def test_no_model():
    with pytest.raises(OptionError, match="at least one model"):
        learning_curve({}, nnlib.data.digits(), [10], steps=1)


# What it returns -----------------------------------------------------------------------------


@pytest.fixture
def curve():
    made = LearningCurve("error_rate", ("a", "b, c"), (10, 100), (4, 7, 9), (5, 5), 8)
    made.test_scores["a"][:] = [[0.5, 0.6, 0.7], [0.2, 0.3, 0.4]]
    made.train_scores["a"][:] = [[0.1, 0.1, 0.1], [0.2, 0.2, 0.2]]
    made.test_scores["b, c"][0, :2] = [0.3, 0.5]
    made.parameters = {"a": 13, "b, c": 1234}
    return made


def test_mean_and_deviation_are_over_the_seeds_that_are_there(curve):
    np.testing.assert_allclose(curve.test_mean["a"], [0.6, 0.3])
    np.testing.assert_allclose(curve.test_std["a"], np.std([0.5, 0.6, 0.7], ddof=1))
    np.testing.assert_allclose(curve.test_mean["b, c"], [0.4, np.nan])
    np.testing.assert_allclose(curve.test_std["b, c"], [np.std([0.3, 0.5], ddof=1), np.nan])


def test_table_has_a_line_for_each_size_and_a_column_for_each_model(curve):
    title, head, parameters, _, ten, hundred = curve.table().splitlines()
    assert title == "test error rate: mean ± standard deviation of 3 seeds"
    assert head.split() == ["examples", "steps", "a", "b,", "c"]
    assert parameters.split() == ["(13", "parameters)", "(1,234", "parameters)"]
    assert ten.split() == ["10", "5", *["0.6000", "±", "0.1000", "0.4000", "±", "0.1414"]]
    assert hundred.split() == ["100", "5", *["0.3000", "±", "0.1000", "–"]]
    assert curve.table(train=True).startswith("training error rate")
    assert len({len(line) for line in (head, ten, hundred)}) == 1


def test_one_seed_has_no_deviation():
    curve = LearningCurve("mse", ("m",), (10,), (0,), (5,), 8)
    curve.test_scores["m"][:] = 2e-5
    assert curve.table().splitlines()[-1].split() == ["10", "5", "2.00e-05"]
    assert "one seed" in curve.table()


def test_json_and_back(curve, tmp_path):
    path = tmp_path / "curve.json"
    assert json.loads(curve.to_json(path))["test_scores"]["b, c"][1] == [None, None, None]
    again = LearningCurve.from_json(path)
    assert again.to_dict() == curve.to_dict()
    np.testing.assert_array_equal(again.test_scores["a"], curve.test_scores["a"])
    again.check_same(curve)


def test_csv_has_a_line_for_each_training(curve, tmp_path):
    text = curve.to_csv(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text() == text
    head, *lines = csv.reader(io.StringIO(text))
    assert head == [
        "model",
        "train_size",
        "steps",
        "seed",
        "train_error_rate",
        "test_error_rate",
        "seconds",
    ]
    assert len(lines) == 2 * 2 * 3
    assert lines[1] == ["a", "10", "5", "7", "0.1", "0.6", "nan"]
    assert lines[-1][0] == "b, c"


@pytest.mark.parametrize("text", ["{", "[]", '{"metric": "mse"}', '{"train_sizes": [1]}'])
def test_a_file_of_another_kind(tmp_path, text):
    path = tmp_path / "curve.json"
    path.write_text(text)
    with pytest.raises(FileFormatError, match="must be a learning curve"):
        LearningCurve.from_json(path)


def test_scores_of_another_shape_are_refused(curve):
    values = curve.to_dict()
    values["test_scores"]["a"] = [[0.5], [0.2]]
    with pytest.raises(FileFormatError, match="shape"):
        LearningCurve.from_dict(values)


def test_other_settings_are_named(curve):
    other = LearningCurve("error_rate", ("a", "b, c"), (10, 100), (4, 7, 9), (6, 6), 8)
    with pytest.raises(StateError, match=r"same steps, \(6, 6\). Received: \(5, 5\)"):
        curve.check_same(other)


def test_plot_has_lines_and_error_bars(curve, tmp_path):
    pytest.importorskip("matplotlib")
    figure = curve.plot(tmp_path / "curve.png", train=True, yscale="log")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [len(bars.get_children()) > 2 for bars in axes.containers] == [True, True]
    np.testing.assert_allclose(axes.containers[0].lines[0].get_ydata(), [0.6, 0.3])
    (training,) = [line for line in axes.lines if line.get_linestyle() == "--"][:1]
    np.testing.assert_allclose(training.get_ydata(), [0.1, 0.2])
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["a: 13 parameters", "b, c: 1,234 parameters"]


def test_plot_without_matplotlib(curve, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]'"):
        curve.plot()
