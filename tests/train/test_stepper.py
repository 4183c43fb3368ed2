import operator

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib.errors import CaptureWarning, DTypeError, OptionError, ShapeError
from nnlib.train.stepper import Stepper, StepState


def make(**options):
    nnlib.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Stepper(model, options.pop("loss", "cross_entropy"), optimizer, **options)


def batch(rows=slice(None)):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 4)).astype(np.float32), rng.integers(0, 3, 12)
    return (
        nnlib.tensor(x[rows], backend=nnlib.get_backend()),
        nnlib.tensor(y[rows], backend=nnlib.get_backend()),
    )


def gradients(steps, group):
    steps.compute_gradients(group)
    return np.concatenate([p.grad.numpy().ravel() for p in steps.model.parameters()])


def test_a_group_of_unequal_batches_is_one_large_batch(backend):
    steps = make()
    whole = gradients(steps, [batch()])
    parts = gradients(steps, [batch(slice(0, 5)), batch(slice(5, 10)), batch(slice(10, 12))])
    np.testing.assert_allclose(parts, whole, rtol=2e-6, atol=1e-7)


def test_gradients_do_not_pile_up():
    steps = make()
    first = gradients(steps, [batch()])
    np.testing.assert_array_equal(gradients(steps, [batch()]), first)


def test_a_step_neither_reads_nor_copies():
    with nnlib.use_backend("strict"):
        steps, group = make(clip_norm=1.0), [batch()]
        with strict_backend.counting() as counts:
            steps.compute_gradients(group)
            steps.update()
        assert counts.reads == 0, counts.where


def test_clipping():
    steps = make(clip_norm=1e-3)
    before = gradients(steps, [batch()])
    steps.update()
    after = np.concatenate([p.grad.numpy().ravel() for p in steps.model.parameters()])
    assert np.linalg.norm(before) > 1e-2
    assert np.linalg.norm(after) == pytest.approx(1e-3, rel=1e-3)


def test_results_are_outside_the_graph():
    ((loss, count, output),) = make().compute_gradients([batch()])
    assert not loss.requires_grad
    assert not output.requires_grad
    assert count == 12


def test_loss_of_several_values():
    with pytest.raises(ShapeError, match="the loss <lambda> must return"):
        make(loss=lambda output, target: output).compute_gradients([batch()])


def test_parts_are_checked():
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters())
    with pytest.raises(DTypeError, match="model must be"):
        Stepper(len, "mse", optimizer)
    with pytest.raises(DTypeError, match=r"with model.parameters\(\)"):
        Stepper(model, "mse", optim.SGD)
    with pytest.raises(OptionError, match="parameters of this model"):
        Stepper(other, "mse", optimizer)
    for value in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="clip_norm"):
            Stepper(model, "mse", optimizer, clip_norm=value)


class TestReplacedLayer:
    def test_an_optimizer_without_it_is_an_error(self):
        steps = make()
        steps.model[2] = nn.Linear(5, 2)
        with pytest.raises(OptionError, match=r"without 2.weight, 2.bias. If a layer was replaced"):
            Stepper(steps.model, "cross_entropy", steps.optimizer)

    def test_it_is_noticed_when_training_begins(self):
        steps, x = make(), np.zeros((4, 4), np.float32)
        trainer = nnlib.Trainer(steps.model, "cross_entropy", steps.optimizer, progress=False)
        trainer.fit((x, np.zeros(4, int)))
        steps.model[2] = nn.Linear(5, 2)
        with pytest.raises(OptionError, match="add_param_group"):
            trainer.fit((x, np.zeros(4, int)))

    def test_added_to_the_optimizer_it_is_clipped_and_trained(self):
        steps = make(clip_norm=1e-3)
        steps.model[2] = nn.Linear(5, 3)
        steps.optimizer.add_param_group({"params": steps.model[2].parameters()})
        before = steps.model[2].weight.numpy()
        steps.train_step([batch()])
        norms = [np.linalg.norm(p.grad.numpy()) for p in steps.model.parameters()]
        assert np.linalg.norm(norms) == pytest.approx(1e-3, rel=1e-3)
        assert (steps.model[2].weight.numpy() != before).any()

    def test_others_of_the_optimizer_and_frozen_layers_are_fine(self):
        model = make().model
        scale = nn.Parameter([1.0])  # of a loss
        nn.freeze(model, "0.*")
        optimizer = optim.SGD([scale, *model[2].parameters()], lr=0.1)
        assert Stepper(model, "cross_entropy", optimizer).train_step([batch()])
        nn.unfreeze(model)
        partly = optim.SGD(model[2].parameters(), lr=0.1)
        assert Stepper(model, "cross_entropy", partly).train_step([batch()])


# Replays are compared with the eager step ------------------------------------------------------


class Hidden:
    """A number that has no guard, since a C function reads it."""

    number = 1.0


READ = operator.attrgetter("number")


def make_run(backend, hidden=None, callbacks=(), **options):
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
    assert fitted(make_run(backend, **options)) == fitted(
        make_run(backend, compile=False, **options)
    )


def test_a_stale_recording_lives_no_longer_than_an_epoch(backend):
    class Anneal(nnlib.train.Callback):
        def on_epoch_end(self, trainer, logs):
            hidden.number += 1.0

    results = []
    for compile in (True, False):
        hidden = Hidden()
        run = make_run(backend, hidden, [Anneal()], compile=compile)
        if compile:
            with pytest.warns(CaptureWarning, match="It differs in result 0") as caught:
                results.append(fitted(run))
            assert len(caught) == 2  # the training step and that of the validation
        else:
            results.append(fitted(run))
    assert results[0] == results[1]


def test_a_state_is_put_back(backend):
    run = make_run(backend)
    run.fit(data(), epochs=1, batch_size=11)
    changes = StepState(run.stepper)
    before = changes.state()
    run.fit(data(), epochs=1, batch_size=11)
    after = changes.state()
    assert any(
        np.any(run.backend.to_numpy(after[n] != before[n])) for n in before if "step" not in n
    )
    changes.restore(before)
    now = changes.state()
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
    names = [name for name, _ in StepState(run.stepper)._tensors()]
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
    run = make_run(None)
    x, y = data()
    run.fit((x, y), epochs=150, batch_size=44)
    (specialization,) = run.stepper._train._specializations.values()
    assert specialization.replayed == 148
    assert 10 <= specialization.traces[0].checks <= 12
