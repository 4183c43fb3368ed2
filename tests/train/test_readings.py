import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn
from nnlib.errors import ShapeError
from nnlib.train.readings import Losses, mean, single_value


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


@pytest.mark.parametrize("loss", [3.0, nnlib.ones(4)])
def test_a_loss_is_one_value(loss):
    with pytest.raises(ShapeError, match="the loss mine must return"):
        single_value(loss, "the loss mine")
    assert single_value(nn.Parameter([1.0]), "the loss mine").size == 1
