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


def test_slices_keep_names_and_give_numbers_anew():
    net = nn.Sequential({"a": nn.Linear(2, 2), "act": nn.Tanh(), "b": nn.Linear(2, 1)})
    assert list(net[::2]._modules) == ["a", "b"]
    assert list(nn.Sequential(nn.Tanh(), nn.ReLU(), nn.ELU())[1:]._modules) == ["0", "1"]
    with pytest.raises(IndexError):
        net[3]


def test_inserting_and_deleting():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    del net[-1]
    assert net.append(nn.Linear(2, 3)) is net
    assert net.insert(1, nn.Dropout()) is net
    assert [type(layer).__name__ for layer in net] == ["Linear", "Dropout", "Tanh", "Linear"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "3.weight", "3.bias"]
    del net[1:]
    assert net(nnlib.ones(1, 2)).shape == (1, 2)
    assert not hasattr(net, "1")


def test_appending_to_names_replaces_nothing():
    net = nn.Sequential({"1": nn.Tanh()}).append(nn.ReLU())
    assert [type(layer).__name__ for layer in net] == ["Tanh", "ReLU"]


def test_module_dict():
    heads = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Tanh()})
    assert list(heads) == list(heads.keys()) == ["a", "b"]
    assert "a" in heads
    assert "c" not in heads
    assert dict(heads.items())["b"] is heads["b"] is list(heads.values())[1]
    heads["c"] = nn.ReLU()
    del heads["a"]
    heads.update({"b": nn.ELU()})
    assert [type(module).__name__ for module in heads.values()] == ["ELU", "ReLU"]
    assert list(heads.parameters()) == []
    for key in ("a", "never"):
        with pytest.raises(KeyError):
            del heads[key]
    with pytest.raises(OptionError, match="Received: 'keys'"):
        heads["keys"] = nn.ReLU()


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    assert layers.append(nn.Tanh()) is layers
    assert list(layers.state_dict()) == ["0.weight", "0.bias"]
    assert isinstance(layers[1:], nn.ModuleList)
    assert len(layers[1:]) == 1


def test_only_modules_go_in():
    with pytest.raises(OptionError, match=r"Sequential holds modules. Received: <function"):
        nn.Sequential(nn.Linear(1, 1), nn.functional.relu)
    with pytest.raises(OptionError, match="Sequential holds modules"):
        nn.Sequential({"act": nn.functional.relu})
    net = nn.ModuleList([nn.Tanh()])
    with pytest.raises(OptionError, match="ModuleList holds modules"):
        net[0] = nn.functional.relu
    assert len(net) == 1
