import numpy as np
import pytest

import nnlib
from nnlib.errors import OptionError, OutputError
from nnlib.train import Callback, Checkpoint, EarlyStopping
from nnlib.train.checkpoint import load_state


class Pretend(Callback):
    """Write given numbers into the history, as if they had been measured."""

    def __init__(self, **values):
        self.values = values

    def on_epoch_end(self, trainer, logs):
        for name, values in self.values.items():
            logs[name] = values[trainer.epoch - 1]


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([5, 4, 3, 2, 1], {}, 5, 5),
        ([5, 4, 4.5, 4.2, 1], {"patience": 2}, 4, 2),
        ([5, 4, 4.5, 3, 1], {"patience": 2}, 5, 5),
        ([5, 4.95, 4.89, 4.85, 1], {"patience": 2, "min_delta": 0.1}, 5, 5),
        ([5, 4.95, 4.91, 4.95, 1], {"patience": 2, "min_delta": 0.1}, 3, 1),
        ([5, float("nan"), float("nan"), 1, 1], {"patience": 2}, 3, 1),
        ([float("nan")] * 5, {"patience": 3}, 3, 0),
        ([1, 2, 3, 2, 2], {"patience": 2, "mode": "max"}, 5, 3),
    ],
)
def test_early_stopping(points, make_trainer, values, options, epochs, best):
    stop = EarlyStopping(**options)
    trainer = make_trainer(callbacks=[Pretend(val_loss=values), stop], nan_stop=False)
    history = trainer.fit(points, val=points, epochs=5)
    assert len(history) == epochs
    assert stop.best_epoch == best
    assert bool(history.stopped) == (epochs < 5 or stop.waited >= stop.patience)


def test_a_metric_knows_its_direction(points, make_trainer):
    values = [0.1, 0.5, 0.4, 0.3, 0.2]
    stop = EarlyStopping("val_accuracy", patience=2)
    trainer = make_trainer(callbacks=[Pretend(val_accuracy=values), stop])
    history = trainer.fit(points, val=points, epochs=5)
    assert (len(history), stop.best, stop.best_epoch) == (4, 0.5, 2)
    assert "val_accuracy has not become better than 0.5 (epoch 2)" in history.stopped


@pytest.mark.parametrize("restore", [True, False])
def test_best_parameters_come_back(points, make_trainer, weights, restore):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, trainer, logs):
            kept.append(weights(trainer))

    stop = EarlyStopping(patience=2, restore_best=restore)
    trainer = make_trainer(callbacks=[Pretend(val_loss=[3, 1, 2, 2, 2]), Keep(), stop])
    trainer.fit(points, val=points, epochs=5)
    assert len(kept) == 4
    np.testing.assert_array_equal(weights(trainer), kept[1 if restore else 3])


def test_a_new_run_counts_anew(points, make_trainer):
    stop = EarlyStopping("loss", patience=1)
    trainer = make_trainer(callbacks=[Pretend(loss=[1, 2, 3]), stop])
    for _ in range(2):
        assert len(trainer.fit(points, epochs=3)) == 2


def test_unknown_number_is_found_before_training(points, make_trainer):
    trainer = make_trainer(callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(OptionError, match=r"need validation data: fit\(…, val=…\)"):
        trainer.fit(points)
    assert trainer.step == 0
    with pytest.raises(OptionError, match="this run has loss, accuracy"):
        make_trainer(callbacks=[Checkpoint("x", monitor="error")]).fit(points, val=points)


@pytest.mark.parametrize(
    "options", [{"patience": 0}, {"mode": "up"}, {"min_delta": -1}, {"min_delta": float("nan")}]
)
def test_options_out_of_range(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        EarlyStopping(**options)


def epochs_of(folder):
    return {path.name: load_state(path)["epoch"] for path in folder.iterdir()}


def test_checkpoints(points, make_trainer, tmp_path):
    values = [3, 1, 2, 0.5, 2]
    callbacks = [
        Checkpoint(tmp_path / "last"),
        Checkpoint(tmp_path / "best", monitor="val_loss"),
        Checkpoint(tmp_path / "every-{epoch:02}", every=2),
        Pretend(val_loss=values),
    ]
    callbacks.insert(0, callbacks.pop())
    make_trainer(callbacks=callbacks).fit(points, val=points, epochs=5)
    assert epochs_of(tmp_path) == {"last": 5, "best": 4, "every-02": 2, "every-04": 4}


def test_order_of_callbacks_does_not_matter_for_what_is_saved(points, make_trainer, tmp_path):
    stop = EarlyStopping()
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "last"), stop])
    trainer.fit(points, val=points, epochs=2)
    (state,) = (
        entry["state"]
        for entry in load_state(tmp_path / "last")["callbacks"]
        if entry["kind"] == "EarlyStopping"
    )
    assert state["best"] == stop.best


def test_folder_is_tried_before_training(points, make_trainer, tmp_path):
    (tmp_path / "file").write_text("")
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "file" / "last")])
    with pytest.raises(OutputError):
        trainer.fit(points)
    assert trainer.step == 0
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "new" / "last")])
    trainer.fit(points)
    assert (tmp_path / "new" / "last").exists()


def test_checkpoint_options():
    with pytest.raises(OptionError, match="every"):
        Checkpoint("x", every=0)
    with pytest.raises(OptionError, match=r"\{epoch\} only"):
        Checkpoint("x-{loss}")


def test_best_checkpoint_of_a_continued_run(points, make_trainer, tmp_path):
    def trainer():
        return make_trainer(
            callbacks=[
                Pretend(val_loss=[2, 1, 1.5, 3]),
                Checkpoint(tmp_path / "last"),
                Checkpoint(tmp_path / "best", monitor="val_loss"),
            ]
        )

    trainer().fit(points, val=points, epochs=2)
    second = trainer()
    nnlib.manual_seed(0)
    second.resume(tmp_path / "last")
    second.fit(points, val=points, epochs=4)
    assert epochs_of(tmp_path) == {"last": 4, "best": 2}
