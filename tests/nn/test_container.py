import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError


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
    with pytest.raises(OptionError, match=r"Sequential holds modules. Received: <nnlib op"):
        nn.Sequential(nn.Linear(1, 1), nn.functional.relu)
    with pytest.raises(OptionError, match="Sequential holds modules"):
        nn.Sequential({"act": nn.functional.relu})
    net = nn.ModuleList([nn.Tanh()])
    with pytest.raises(OptionError, match="ModuleList holds modules"):
        net[0] = nn.functional.relu
    assert len(net) == 1


JOINED = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU("tanh")]


@pytest.mark.parametrize("activation", JOINED, ids=repr)
def test_layer_and_activation_in_one_go_are_the_same(activation, backend):
    x = nnlib.tensor(np.linspace(-2, 2, 24, dtype="float32").reshape(4, 6), requires_grad=True)
    model = nn.Sequential(nn.Linear(6, 37), activation, nn.Linear(37, 3))
    seen = []
    found = []
    for hooked in (False, True):
        if hooked:  # a hook must see every layer, so nothing is joined
            remove = model[1].register_forward_hook(lambda module, *_: seen.append(module))
        y = model(x)
        y.sum().backward()
        found.append([y.numpy(), x.grad.numpy(), *(p.grad.numpy() for p in model.parameters())])
        x.grad = None
        model.zero_grad()
    remove()
    assert seen == [activation]
    for joined, apart in zip(*found, strict=True):
        # tanh inside and outside of a product's loop may differ in the last bit
        np.testing.assert_allclose(joined, apart, rtol=2e-6, atol=1e-7)


def test_which_pairs_are_joined():
    seen = []
    net = nn.Linear(3, 3), nn.Conv2d(3, 3, 1)
    for module in net:
        module.forward = lambda x, activation=None: seen.append(activation) or x
    for layer in net:
        for behind in (nn.GELU("tanh"), nn.GELU(), nn.ReLU(), nn.ELU()):
            nn.Sequential(layer, behind)(nnlib.ones(1, 3))
    assert seen == ["gelu_tanh", None, "relu", None, None, None, "relu", None]


def test_only_the_very_classes_are_joined():
    class Doubled(nn.ReLU):
        def forward(self, x):
            return 2 * super().forward(x)

    class Linear(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    x = nnlib.ones(2, 3)
    first = nn.Linear(3, 4)
    own = Linear(3, 4)
    own.load_state_dict(first.state_dict())
    expected = np.maximum(first(x).numpy(), 0)
    np.testing.assert_array_equal(nn.Sequential(first, Doubled())(x).numpy(), 2 * expected)
    np.testing.assert_array_equal(
        nn.Sequential(own, nn.ReLU())(x).numpy(), np.maximum(first(x).numpy() + 1, 0)
    )
    np.testing.assert_array_equal(nn.Sequential(first)(x).numpy(), first(x).numpy())


def test_error_in_a_joined_layer_names_its_path():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(5, 2), nn.ReLU())
    with pytest.raises(ShapeError) as caught:
        model(nnlib.ones(1, 3))
    assert caught.value.layer_path == "2"
