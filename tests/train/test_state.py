"""A run that was stopped goes on as if it had not been: bit by bit, on NumPy."""

import json

import numpy as np
import pytest

import nnlib
from nnlib import data, nn, optim
from nnlib.data import transforms
from nnlib.errors import FileFormatError, OutputError, StateError
from nnlib.train import (
    Callback,
    EarlyStopping,
    FunctionMetric,
    LearningRateLogger,
    Trainer,
)
from nnlib.train.checkpoint import load_state, save_state

EPOCHS, STOP = 4, 2


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 4
    x = rng.normal(size=(40, 6, 6, 1)).astype(np.float32)
    x[np.arange(40), y, y] += 3
    return x, y


def make(
    accumulate=1, callbacks=(), seed=3, schedule_every="epoch", restore_best=True, compile=True,
    loss="cross_entropy", metrics=("accuracy", "top2"),
):  # fmt: skip
    """A trainer with everything that has a state: dropout, batch norm, Adam, schedule, metrics."""
    nnlib.manual_seed(seed)
    hidden = [nn.Linear(36, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout()]
    model = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(16, 4))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    stop = EarlyStopping("val_loss", patience=99, restore_best=restore_best)
    return Trainer(
        model,
        loss,
        optimizer,
        metrics=list(metrics),
        schedule=optim.schedules.CosineAnnealingLR(optimizer, T_max=EPOCHS),
        schedule_every=schedule_every,
        clip_norm=1.0,
        accumulate=accumulate,
        callbacks=[LearningRateLogger(), stop, *callbacks],
        progress=False,
        compile=compile,
    )


def loaders(images, kind):
    if kind == "arrays":
        return images, images
    augment = transforms.compose(transforms.pad_crop(1), transforms.flip())
    dataset = data.ArrayDataset(*images)
    train = data.DataLoader(dataset, 7, shuffle=True, transform=augment, prefetch=2)
    return train, data.DataLoader(dataset, 9, transform=augment)


def run(trainer, images, kind, epochs=EPOCHS):
    train, val = loaders(images, kind)
    return trainer.fit(train, val=val, epochs=epochs, batch_size=7)


def outcome(trainer):
    """Everything that must be equal, and nothing that depends on the clock."""
    epochs = [
        {name: value for name, value in epoch.items() if "seconds" not in name}
        for epoch in trainer.history
    ]
    state = {name: value.tolist() for name, value in trainer.model.state_dict().items()}
    rates, stop = trainer.callbacks[1:3]
    notes = [rates.rates, stop.best, stop.best_epoch, stop.waited]
    return json.dumps([epochs, trainer.history.step_losses, state, notes, trainer.step])


@pytest.mark.parametrize("kind", ["arrays", "loaders"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("schedule_every", ["epoch", "step"])
def test_between_epochs(images, tmp_path, kind, accumulate, schedule_every):
    # without restore_best: it would change the parameters at the end of the first part
    options = {"accumulate": accumulate, "schedule_every": schedule_every, "restore_best": False}
    whole = make(**options)
    run(whole, images, kind)
    first = make(**options)
    run(first, images, kind, epochs=STOP)
    first.save(tmp_path / "run")
    second = make(seed=99, **options)
    nnlib.rand(5)
    second.resume(tmp_path / "run")
    nnlib.rand(5)  # drawn by somebody else in between
    run(second, images, kind)
    assert second.epoch == EPOCHS
    assert outcome(second) == outcome(whole)


class SaveAndStop(Callback):
    def __init__(self, path, step):
        self.path, self.at = path, step

    def on_step_end(self, trainer):
        if trainer.step == self.at:
            trainer.save(self.path)
            raise KeyboardInterrupt


def test_inside_an_epoch_of_batches_that_count_differently(images, tmp_path):
    weight, path = [0.3, 1.7, 0.0, 2.9], tmp_path / "run"
    loss = nn.CrossEntropyLoss(weight, ignore_index=1)
    options = {"loss": loss, "metrics": ["accuracy", FunctionMetric(loss, "nll")]}
    whole = make(**options)
    run(whole, images, "arrays")
    first = make(callbacks=[SaveAndStop(path, step=8)], **options)
    with pytest.raises(KeyboardInterrupt):
        run(first, images, "arrays")
    second = make(seed=99, **options)
    second.resume(path)
    run(second, images, "arrays")
    assert outcome(second) == outcome(whole)


@pytest.mark.parametrize("kind", ["arrays", "loaders", "batches"])
@pytest.mark.parametrize("step", [7, 8, 12])  # 6 steps an epoch: in the middle, and the last one
def test_inside_an_epoch(images, tmp_path, kind, step):
    path = tmp_path / "run"
    if kind == "batches":
        x, y = images
        batches = [(x[i : i + 7], y[i : i + 7]) for i in range(0, 40, 7)]

        def train(trainer):
            return trainer.fit(batches, val=batches, epochs=EPOCHS)
    else:

        def train(trainer):
            return run(trainer, images, kind)

    whole = make()
    train(whole)
    first = make(callbacks=[SaveAndStop(path, step)])
    with pytest.raises(KeyboardInterrupt):
        train(first)
    second = make(seed=99)
    second.resume(path)
    assert second.step == step
    train(second)
    assert outcome(second) == outcome(whole)


def test_after_an_interruption_the_trainer_itself_can_be_saved(images, tmp_path):
    class Stop(Callback):
        def on_step_end(self, trainer):
            if trainer.step == 8:
                raise KeyboardInterrupt

    whole = make()
    run(whole, images, "loaders")
    first = make(callbacks=[Stop()])
    with pytest.raises(KeyboardInterrupt):
        run(first, images, "loaders")
    first.save(tmp_path / "run")
    second = make(seed=99)
    second.resume(tmp_path / "run")
    run(second, images, "loaders")
    assert outcome(second) == outcome(whole)


def test_interrupted_validation(images, tmp_path):
    class Loss:
        calls = 0

        def __call__(self, output, target):
            self.calls += 1
            if self.calls == 6 + 5 + 6 + 3:  # an epoch, its validation, an epoch, half of its
                raise KeyboardInterrupt
            return nn.functional.cross_entropy(output, target)

    whole = make()
    run(whole, images, "loaders")
    first = make(compile=False)  # a compiled loss is not called at every batch
    first.loss = Loss()
    with pytest.raises(KeyboardInterrupt):
        run(first, images, "loaders")
    assert (len(first.history), first.training_done, first.step) == (1, True, 12)
    first.save(tmp_path / "run")
    second = make(seed=99)
    second.resume(tmp_path / "run")
    run(second, images, "loaders")
    assert outcome(second) == outcome(whole)


def test_a_half_done_step_is_not_saved(images, tmp_path):
    class Broken(nn.Module):
        def forward(self, output, target):
            raise RuntimeError("half way")

    trainer = make()
    trainer.loss = Broken()
    with pytest.raises(RuntimeError):
        run(trainer, images, "arrays")
    with pytest.raises(StateError, match="after a complete step"):
        trainer.save(tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_finished_run_has_nothing_left_to_do(images, tmp_path):
    first, second = make(), make(seed=99)
    run(first, images, "arrays", epochs=STOP)
    first.save(tmp_path / "run")
    second.resume(tmp_path / "run")
    run(second, images, "arrays", epochs=STOP)
    assert outcome(second) == outcome(first)


def test_continuing_on_another_backend(images, tmp_path):
    first = make()
    run(first, images, "arrays", epochs=STOP)
    first.save(tmp_path / "run")
    with nnlib.use_backend("strict"):
        second = make(seed=99)
    second.resume(tmp_path / "run")
    run(second, images, "arrays", epochs=STOP + 1)
    third = make(seed=99)
    third.resume(tmp_path / "run")
    run(third, images, "arrays", epochs=STOP + 1)
    assert second.history.backend == "strict"
    np.testing.assert_allclose(second.history["loss"], third.history["loss"], rtol=1e-4)


def spoil(path, **changes):
    state = load_state(path)
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    save_state(state, path)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"history": None}, FileFormatError),
        ({"step_losses": 3}, FileFormatError),
        ({"model": {}}, StateError),
        ({"optimizer": {}}, StateError),
        ({"schedule": {"x": 1}}, StateError),
        ({"metrics": {}}, StateError),
        (
            {"metrics": {name: {"total": 1.0, "count": "?"} for name in ("accuracy", "top2")}},
            StateError,
        ),
        ({"callbacks": [{"kind": "EarlyStopping", "state": {}}]}, StateError),
        ({"generator": {}}, StateError),
        ({"epoch_losses": None}, FileFormatError),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(images, tmp_path, changes, error):
    trainer = make()
    run(trainer, images, "arrays", epochs=1)
    trainer.save(tmp_path / "run")
    spoil(tmp_path / "run", **changes)
    run(trainer, images, "arrays", epochs=2)
    before = outcome(trainer), nnlib.random.default_generator.state_dict()
    with pytest.raises(error):
        trainer.resume(tmp_path / "run")
    assert (outcome(trainer), nnlib.random.default_generator.state_dict()) == before
    assert not trainer.resumed


def test_a_run_with_a_schedule_needs_one(images, tmp_path):
    trainer = make()
    trainer.save(tmp_path / "run")
    other = make()
    other.schedule = None
    with pytest.raises(StateError, match="with the schedule"):
        other.resume(tmp_path / "run")


def test_other_dataset_is_noticed(images, tmp_path):
    trainer = make(callbacks=[SaveAndStop(tmp_path / "run", 5)])
    with pytest.raises(KeyboardInterrupt):
        run(trainer, images, "arrays")
    second = make()
    second.resume(tmp_path / "run")
    x, y = images
    with pytest.raises(StateError, match="dataset and batch_size"):
        second.fit((x[:10], y[:10]), batch_size=7, epochs=EPOCHS)


def test_saving_where_one_cannot(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        make().save(tmp_path / "file" / "run")
