import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError
from nnlib.train.losses import LOSSES, get_loss, ignore_index_of


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
