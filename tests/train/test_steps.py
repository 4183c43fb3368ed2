import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib.errors import DTypeError, OptionError, ShapeError
from nnlib.train.steps import Steps, grouped


def make(**options):
    nnlib.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Steps(model, options.pop("loss", "cross_entropy"), optimizer, **options)


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
            steps.apply_gradients()
        assert counts.reads == 0, counts.where


def test_clipping():
    steps = make(clip_norm=1e-3)
    before = gradients(steps, [batch()])
    steps.apply_gradients()
    after = np.concatenate([p.grad.numpy().ravel() for p in steps.model.parameters()])
    assert np.linalg.norm(before) > 1e-2
    assert np.linalg.norm(after) == pytest.approx(1e-3, rel=1e-3)


def test_results_are_outside_the_graph():
    ((loss, count, output),) = make().compute_gradients([batch()])
    assert not loss.requires_grad
    assert not output.requires_grad
    assert count == 12


def test_schedule_that_counts_steps():
    for every, expected in (("step", 0.025), ("epoch", 0.1), (None, 0.1)):
        steps = make()
        schedule = optim.schedules.StepLR(steps.optimizer, step_size=1, gamma=0.5)
        steps = Steps(
            steps.model, steps.loss, steps.optimizer, schedule=schedule, schedule_every=every
        )
        for _ in range(3):
            gradients(steps, [batch()])
            steps.apply_gradients()
        assert steps.learning_rate == pytest.approx(expected)  # that of the third step


def test_one_cycle_counts_steps_by_itself():
    steps = make()
    schedule = optim.schedules.OneCycleLR(steps.optimizer, max_lr=0.1, total_steps=5)
    assert Steps(steps.model, "mse", steps.optimizer, schedule=schedule).schedule_every == "step"


def test_loss_of_several_values():
    with pytest.raises(ShapeError, match="the loss <lambda> must return"):
        make(loss=lambda output, target: output).compute_gradients([batch()])


def test_groups_fetch_nothing_ahead():
    taken = []

    def source():
        for i in range(5):
            taken.append(i)
            yield i

    groups = grouped(source(), 2)
    assert next(groups) == [0, 1]
    assert taken == [0, 1]
    assert list(groups) == [[2, 3], [4]]


def test_parts_are_checked():
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters())
    schedule = optim.schedules.StepLR(optimizer, 1)
    with pytest.raises(DTypeError, match="model must be"):
        Steps(len, "mse", optimizer)
    with pytest.raises(DTypeError, match=r"with model.parameters\(\)"):
        Steps(model, "mse", optim.SGD)
    with pytest.raises(OptionError, match="parameters of this model"):
        Steps(other, "mse", optimizer)
    with pytest.raises(OptionError, match="for this optimizer"):
        Steps(model, "mse", optim.SGD(model.parameters()), schedule=schedule)
    with pytest.raises(DTypeError, match="schedule must be"):
        Steps(model, "mse", optimizer, schedule=0.1)
    with pytest.raises(OptionError, match="schedule_every"):
        Steps(model, "mse", optimizer, schedule=schedule, schedule_every="batch")
    with pytest.raises(OptionError, match="ReduceLROnPlateau"):
        Steps(
            model,
            "mse",
            optimizer,
            schedule=optim.schedules.ReduceLROnPlateau(optimizer),
            schedule_every="step",
        )
    for value in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="clip_norm"):
            Steps(model, "mse", optimizer, clip_norm=value)


class TestReplacedLayer:
    def test_an_optimizer_without_it_is_an_error(self):
        steps = make()
        steps.model[2] = nn.Linear(5, 2)
        with pytest.raises(OptionError, match=r"without 2.weight, 2.bias. If a layer was replaced"):
            Steps(steps.model, "cross_entropy", steps.optimizer)

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
        assert Steps(model, "cross_entropy", optimizer).train_step([batch()])
        nn.unfreeze(model)
        partly = optim.SGD(model[2].parameters(), lr=0.1)
        assert Steps(model, "cross_entropy", partly).train_step([batch()])
