from functools import partial

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError
from nnlib.nn import functional as F
from nnlib.train.losses import LOSSES, Losses, get_loss, ignore_index_of, mean, measured


@pytest.mark.parametrize("name", LOSSES)
def test_names_are_differentiable_means(name):
    output = nnlib.tensor([[0.5, -0.2], [0.1, 0.9]], requires_grad=True)
    target = nnlib.tensor([0, 1]) if name == "cross_entropy" else nnlib.tensor([[0.0, 1], [1, 0]])
    loss = get_loss(name)(output, target)
    loss.backward()
    assert loss.shape == ()
    assert output.grad.shape == output.shape


def test_functions_and_modules_stay():
    module = nn.MSELoss()
    assert get_loss(module) is module


def test_others_are_refused():
    with pytest.raises(OptionError, match="Did you mean 'cross_entropy'"):
        get_loss("crossentropy")
    with pytest.raises(DTypeError, match="parentheses"):
        get_loss(nn.MSELoss)
    with pytest.raises(DTypeError, match="must be a name"):
        get_loss(None)


def test_which_label_a_loss_ignores():
    class Outer(nn.Module):
        def __init__(self, *losses):
            super().__init__()
            self.parts = nn.ModuleList(losses)

    zero, one = nn.CrossEntropyLoss(ignore_index=0), nn.NLLLoss(ignore_index=1)
    assert ignore_index_of(get_loss("cross_entropy")) == -100
    assert ignore_index_of(zero) == 0
    assert ignore_index_of(Outer(zero, nn.MSELoss())) == 0
    assert ignore_index_of(lambda o, t, ignore_index=5: o) == 5
    for none in (
        nn.MSELoss(), nn.CrossEntropyLoss(ignore_index=None), Outer(zero, one), max, Outer()
    ):  # fmt: skip
        assert ignore_index_of(none) is None


def test_one_read_for_all(backend):
    losses = Losses(backend)
    for step, value in enumerate(np.linspace(0, 1, 2500, dtype=np.float32)):
        losses.add(nnlib.tensor(value), step, 2)
    extras = [nnlib.tensor(0.25, dtype="float64"), nnlib.tensor([3.0])]
    with strict_backend.counting() as counts:
        steps, values = losses.read(extras)
    assert counts.reads == (1 if backend.name == "strict" else 0), counts.where
    assert [loss for loss, _ in steps] == np.linspace(0, 1, 2500, dtype=np.float32).tolist()
    assert values == [0.25, 3.0]
    assert losses.read() == ([], [])


def test_batches_of_one_step_are_averaged_by_size():
    losses = Losses(nnlib.get_backend())
    losses.add(nnlib.tensor(1.0), 1, 3)
    losses.add(nnlib.tensor(5.0), 1, 1)
    losses.add(nnlib.tensor(7.0), 2, 4)
    assert losses.read()[0] == [(2.0, 4), (7.0, 4)]
    assert mean([(2.0, 4), (7.0, 4)]) == 4.5


def test_what_counts_may_be_on_the_device(backend):
    losses = Losses(backend)
    for step, (loss, count) in enumerate([(2.0, 3.0), (5.0, 1.0), (float("nan"), 0.0)]):
        losses.add(nnlib.tensor(loss), step // 2, nnlib.tensor(count))
    losses.add(nnlib.tensor(7.0), 2, None)
    losses.add(nnlib.tensor(8.0), 2, None)
    with strict_backend.counting() as counts:
        steps, extras = losses.read([nnlib.tensor(1.5)])
    assert counts.reads == (1 if backend.name == "strict" else 0), counts.where
    assert steps == [(2.75, 4), (0.0, 0), (15.0, 0)]
    assert extras == [1.5]


@pytest.mark.parametrize("loss", [3.0, nnlib.ones(4), (nnlib.ones(4), 4)])
def test_a_loss_is_one_value(loss):
    with pytest.raises(ShapeError, match="the loss mine must return"):
        measured(lambda output, target: loss, None, nnlib.ones(4), "the loss mine")


@pytest.mark.parametrize("count", [None, -1, float("nan"), "4", nnlib.ones(4)])
def test_a_count_is_one_number(count):
    with pytest.raises(ShapeError, match="the number that it was divided by"):
        measured(lambda o, t: (nnlib.ones(()), count), None, nnlib.ones(4), "the loss mine")


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda o, t: nn.Parameter([1.0]), 4),
        (lambda o, t: (nnlib.ones(()), 2), 2),
        (F.mse_loss, 12),
        (lambda o, t: F.mse_loss(o, t), 12),
        (lambda o, t: 2 * F.mse_loss(o, t), 4),  # not as it was computed
        (partial(F.l1_loss, reduction="sum"), None),
    ],
)
def test_what_a_loss_is_the_mean_over(loss, expected):
    values = nnlib.ones(4, 3)
    assert measured(loss, values, values, "the loss mine")[1] == expected
