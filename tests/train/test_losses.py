import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError
from nnlib.train.losses import LOSSES, get_loss


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
