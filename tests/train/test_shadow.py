"""Replayed steps are compared with the step itself; what differs ends the replays."""

import operator

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import CaptureWarning
from nnlib.train.shadow import StepState


class Hidden:
    """A number that recordings do not see, for a function of C reads it."""

    number = 1.0


READ = operator.attrgetter("number")


def trainer(backend, hidden=None, callbacks=(), **options):
    nnlib.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
    hidden = hidden or Hidden()

    def loss(output, target):
        return ((output - target) ** 2).mean() * READ(hidden)

    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    return nnlib.Trainer(
        model, loss, optimizer, callbacks=callbacks, progress=False, seed=1, **options
    )


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((44, 3)).astype("float32"), np.ones((44, 1), "float32")


def fitted(run, epochs=3):
    history = run.fit(data(), val=data(), epochs=epochs, batch_size=4)
    values = [v.numpy() for v in run.model.state_dict().values()]
    return history["loss"], history["val_loss"], [v.tobytes() for v in values]


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # float16, before scaling
@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2}, {"precision": "fp16", "clip_norm": 1.0}], ids=str
)
def test_checks_change_nothing(backend, options):
    assert fitted(trainer(backend, **options)) == fitted(trainer(backend, compile=False, **options))


def test_a_stale_recording_lives_no_longer_than_an_epoch(backend):
    class Anneal(nnlib.train.Callback):
        def on_epoch_end(self, trainer, logs):
            hidden.number += 1.0

    results = []
    for compile in (True, False):
        hidden = Hidden()
        run = trainer(backend, hidden, [Anneal()], compile=compile)
        if compile:
            with pytest.warns(CaptureWarning, match="It differs in result 0") as caught:
                results.append(fitted(run))
            assert len(caught) == 2  # the training step and that of the validation
        else:
            results.append(fitted(run))
    assert results[0] == results[1]


def test_a_state_is_put_back(backend):
    run = trainer(backend)
    run.fit(data(), epochs=1, batch_size=11)
    audit = StepState(run)
    before = audit.state()
    run.fit(data(), epochs=1, batch_size=11)
    after = audit.state()
    assert any(
        np.any(run.backend.to_numpy(after[n] != before[n])) for n in before if "step" not in n
    )
    audit.restore(before)
    now = audit.state()
    assert now.keys() == before.keys()
    for name, value in before.items():
        one, other = (
            run.backend.to_numpy(v) if hasattr(v, "dtype") else v for v in (value, now[name])
        )
        np.testing.assert_array_equal(one, other)


def test_names_are_of_one_tensor_each():
    model = nn.Module()
    model.loss = nn.BatchNorm1d(2)
    run = nnlib.Trainer(model, nn.BatchNorm1d(2), optim.SGD(model.parameters()), progress=False)
    names = [name for name, _ in StepState(run)._tensors()]
    assert len(names) == len(set(names)) > 8


def test_a_gradient_that_only_the_replay_leaves_ends_the_replays():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(3, 1), nn.Linear(3, 1)

        def forward(self, x):
            return self.other(x) if READ(hidden) == 1.0 else self.one(x)

    class Switch(nnlib.train.Callback):
        def on_epoch_end(self, trainer, logs):
            hidden.number = 2.0

    hidden, model = Hidden(), Two()
    run = nnlib.Trainer(
        model, "mse", optim.SGD(model.parameters()), callbacks=[Switch()], progress=False
    )
    with pytest.warns(CaptureWarning, match="gradient of model"):
        run.fit(data(), epochs=2, batch_size=4)


def test_short_epochs_are_checked_now_and_then():
    run = trainer(None)
    x, y = data()
    run.fit((x, y), epochs=150, batch_size=44)
    (kind,) = run._train._kinds.values()
    assert kind.replayed == 148
    assert 10 <= kind.variants[0].audits <= 12
