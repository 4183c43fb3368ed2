import csv
import io
import json
import sys

import numpy as np
import pytest

from nnlib.errors import FileFormatError, MissingExtraError, StateError
from nnlib.train import LearningCurve


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
