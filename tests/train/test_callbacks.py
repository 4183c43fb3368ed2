import pytest

from nnlib import optim
from nnlib.errors import OutputError
from nnlib.train import Callback, CSVLogger, LearningRateLogger, Trainer


def test_csv_has_every_epoch_as_it_ends(points, make_trainer, tmp_path):
    path = tmp_path / "new" / "history.csv"
    lengths = []

    class Look(Callback):
        def on_epoch_end(self, trainer, logs):
            lengths.append(len(path.read_text().splitlines()))

    trainer = make_trainer(callbacks=[CSVLogger(path), Look()])
    history = trainer.fit(points, val=points, epochs=3)
    assert lengths == [2, 3, 4]
    assert path.read_text() == history.to_csv()


def test_csv_folder_is_tried_before_training(points, make_trainer, tmp_path):
    (tmp_path / "file").write_text("")
    trainer = make_trainer(callbacks=[CSVLogger(tmp_path / "file" / "history.csv")])
    with pytest.raises(OutputError, match="Give another path"):
        trainer.fit(points)
    assert trainer.step == 0


def test_rate_of_every_step(points, make_trainer):
    log = LearningRateLogger()
    trainer = make_trainer(lr=1.0, optimizer=optim.SGD)
    schedule = optim.schedules.ExponentialLR(trainer.optimizer, 0.5)
    trainer = Trainer(
        trainer.model,
        "cross_entropy",
        trainer.optimizer,
        schedule=schedule,
        schedule_every="step",
        callbacks=[log],
        progress=False,
    )
    trainer.fit(points, epochs=2, batch_size=25)
    assert log.rates == [1, 0.5, 0.25, 0.125]
    trainer.fit(points, epochs=1, batch_size=25)
    assert len(log.rates) == 2


def test_losses_that_a_checkpoint_read_are_told_nevertheless(points, make_trainer, tmp_path):
    told = []

    class Save(Callback):
        def on_step_end(self, trainer):
            if trainer.step in (2, 4, 5, 6):
                trainer.save(tmp_path / "run")

        def on_read(self, trainer, losses):
            told.extend(losses)

    history = make_trainer(callbacks=[Save()], log_every=4).fit(points, epochs=2, batch_size=10)
    assert told == history.step_losses
    assert len(told) == 10


def test_a_callback_needs_no_method(points, make_trainer):
    trainer = make_trainer(callbacks=[Callback()])
    trainer.fit(points)
    assert trainer.callbacks[-1].state_dict() == {}
