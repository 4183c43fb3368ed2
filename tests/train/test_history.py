import builtins
import json

import numpy as np
import pytest

from nnlib.errors import FileFormatError, MissingExtraError, OptionError, OutputError
from nnlib.train import History


@pytest.fixture
def history():
    epochs = [
        {"epoch": 1, "loss": 1.0, "val_loss": 0.9, "val_accuracy": 0.5, "lr": 0.1, "seconds": 2.0},
        {"epoch": 2, "loss": 0.5, "val_loss": 0.7, "val_accuracy": 0.8, "lr": 0.1, "seconds": 2.0},
        {"epoch": 3, "loss": 0.2, "val_loss": 0.8, "val_accuracy": 0.7, "lr": 0.1, "seconds": 2.0},
    ]
    return History(epochs, step_losses=[1.5, 0.5, 0.6, 0.4, 0.2, 0.2], backend="numpy")


def test_columns(history):
    assert history["val_loss"] == [0.9, 0.7, 0.8]
    assert len(history) == 3
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    with pytest.raises(OptionError, match="loss, val_loss"):
        history["los"]


def test_best_knows_the_direction(history):
    assert history.best("val_loss")["epoch"] == 2
    assert history.best("val_accuracy")["epoch"] == 2
    assert history.best("val_accuracy", higher_is_better=False)["epoch"] == 1
    history.epochs[1]["val_loss"] = float("nan")
    assert history.best("val_loss")["epoch"] == 3


def test_dict_json_csv(history, tmp_path):
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    history.epochs[0]["val_loss"] = float("inf")
    text = history.to_json(tmp_path / "history.json")
    assert json.loads(text)["epochs"][0]["val_loss"] is None
    assert (tmp_path / "history.json").read_text() == text
    lines = history.to_csv(tmp_path / "history.csv").splitlines()
    assert lines[0] == "epoch,loss,val_loss,val_accuracy,lr,seconds"
    assert lines[2] == "2,0.5,0.7,0.8,0.1,2.0"
    table = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(table["val_accuracy"], history["val_accuracy"])


def test_from_dict_refuses_other_things():
    with pytest.raises(FileFormatError):
        History.from_dict({"epoch": 3})


def test_file_in_a_place_that_is_not_there(history, tmp_path):
    with pytest.raises(OutputError):
        history.to_csv(tmp_path / "none" / "history.csv")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_draws_a_panel_for_each_number(history, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"curve.{suffix}"
    figure = history.plot(path)
    assert path.stat().st_size > 1000
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    each_step, training, validation = figure.axes[0].get_lines()
    assert len(each_step.get_xdata()) == 6
    assert list(training.get_ydata()) == history["loss"]
    assert list(validation.get_ydata()) == history["val_loss"]


def test_plot_of_nothing():
    pytest.importorskip("matplotlib")
    with pytest.raises(OptionError, match="at least one epoch"):
        History().plot()


def test_plot_without_matplotlib(history, monkeypatch):
    real = builtins.__import__

    def no_matplotlib(name, *args, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]'"):
        history.plot()


def test_repr(history):
    assert repr(history).startswith("History(3 epochs, last: epoch=3, loss=0.2")
    assert repr(History()) == "History(0 epochs)"
