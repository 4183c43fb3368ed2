import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.models import MLP
from nnlib.models.mlp import ACTIVATIONS


def count(model):
    return sum(p.size for p in model.parameters())


def test_course_network_has_13_parameters():
    assert [p.size for p in MLP((2, 3, 1)).parameters()] == [6, 3, 3, 1]


def test_shapes_are_those_of_the_course(backend):
    model = MLP((784, 300, 10))
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert shapes == {
        "layers.linear1.weight": (300, 784),
        "layers.linear1.bias": (300,),
        "layers.linear2.weight": (10, 300),
        "layers.linear2.bias": (10,),
    }
    assert all(p.backend is backend for p in model.parameters())


@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 2, 2, 3)])
def test_input_is_flattened(backend, shape):
    assert MLP((12, 4, 3))(nnlib.ones(shape)).shape == (5, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_between_layers_only(backend, activation):
    model = MLP((3, 4, 5, 2), activation)
    kinds = [type(m) for m in model.layers]
    act = ACTIVATIONS[activation]
    assert kinds == [nn.Linear, act, nn.Linear, act, nn.Linear]
    model(nnlib.ones(2, 3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_activation_may_be_any_maker_of_modules():
    model = MLP((3, 4, 2), lambda: nn.LeakyReLU(0.3))
    assert model.layers.activation1.negative_slope == 0.3


def test_one_layer_network_is_linear():
    assert [type(m) for m in MLP((3, 1)).layers] == [nn.Linear]


def test_no_bias():
    assert count(MLP((2, 3, 1), bias=False)) == 9


def test_dropout_acts_in_training_only():
    model = MLP((2, 1000, 1), dropout=0.5)
    x = nnlib.ones(1, 2)
    assert model(x).item() != model(x).item()
    model.eval()
    assert model(x).item() == model(x).item()


def test_identity_activations_collapse_to_one_linear_map(backend):
    deep = MLP((3, 7, 5, 2), "identity", bias=False)
    x = nnlib.randn(6, 3)
    w1, w2, w3 = (p.numpy() for p in deep.parameters())
    expected = x.numpy() @ (w3 @ w2 @ w1).T
    assert deep(x).numpy() == pytest.approx(expected, abs=1e-6)


def test_bias_may_be_a_weight_of_a_constant_input(backend):
    """The course's form with one matrix θ: bias folded in by appending 1 to x."""
    plain, folded = MLP((3, 2)), MLP((4, 2), bias=False)
    w, b = plain.parameters()
    (theta,) = folded.parameters()
    with nnlib.no_grad():
        theta.copy_(nnlib.concatenate([w, b.reshape(2, 1)], axis=1))
    x = nnlib.randn(5, 3)
    with_one = nnlib.concatenate([x, nnlib.ones(5, 1)], axis=1)
    assert folded(with_one).numpy() == pytest.approx(plain(x).numpy(), abs=1e-6)


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0), (3, -1, 2), (3, 2.0)])
def test_bad_sizes(sizes):
    with pytest.raises(OptionError, match="two or more positive integers"):
        MLP(sizes)


def test_unknown_activation():
    with pytest.raises(OptionError, match=r"activation must be one of .*tanh.* Received: 'tanhh'"):
        MLP((2, 1), "tanhh")


def test_wrong_input_names_the_layer():
    with pytest.raises(ShapeError, match=r"in_features = 4.*layers\.linear1"):
        MLP((4, 2))(nnlib.ones(1, 5))
