import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError


def test_sequential_applies_in_turn():
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.ReLU())
    assert net(nnlib.tensor([[[-1.0], [2.0]]])).tolist() == [[0, 2]]
    assert nn.Sequential()(3) == 3


def test_named_layers():
    net = nn.Sequential({"hidden": nn.Linear(2, 3), "head": nn.Linear(3, 1)})
    assert list(net.state_dict()) == ["hidden.weight", "hidden.bias", "head.weight", "head.bias"]
    assert net.head is net[1]


def test_indexing_slicing_and_replacing():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    assert len(net) == 3
    assert isinstance(net[-1], nn.Linear)
    assert [type(layer).__name__ for layer in net[:2]] == ["Linear", "Tanh"]
    assert isinstance(net[:2], nn.Sequential)
    net[0] = nn.Linear(5, 2)  # not moved to the end
    assert [type(layer).__name__ for layer in net] == ["Linear", "Tanh", "Linear"]
    assert net(nnlib.ones(1, 5)).shape == (1, 1)


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    assert layers.append(nn.Tanh()) is layers
    assert list(layers.state_dict()) == ["0.weight", "0.bias"]
    assert isinstance(layers[1:], nn.ModuleList)
    assert len(layers[1:]) == 1


def test_only_modules_go_in():
    with pytest.raises(OptionError, match=r"Sequential holds modules. Received: <function"):
        nn.Sequential(nn.Linear(1, 1), nn.functional.relu)
