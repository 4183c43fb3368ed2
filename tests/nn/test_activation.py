import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn, ops
from nnlib.errors import DTypeError, OptionError, ShapeError
from nnlib.nn import functional as F

#: Every activation with its default options, and with others.
LAYERS = [
    *(getattr(nn, name)() for name in nn.activation.__all__),
    nn.Hardtanh(-0.5, 2.0),
    nn.LeakyReLU(0.2),
    nn.ELU(0.5),
    nn.GELU("tanh"),
    nn.Softplus(2.0),
    nn.Softmax(dim=0),
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=repr)


def test_the_courses_activations_and_derivatives():
    """L9: h(1 − h), 1 − h², σ(x), and 1 or 0, from values worked out by hand."""
    x = nnlib.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    e = np.exp([-1.0, 0.0, 2.0])
    sigma = e / (1 + e)
    expected = {
        nn.Sigmoid: (sigma, sigma * (1 - sigma)),
        nn.Tanh: (np.tanh([-1, 0, 2]), 1 - np.tanh([-1, 0, 2]) ** 2),
        nn.Softplus: (np.log(1 + e), sigma),
        nn.ReLU: ([0, 0, 2], [0, 0, 1]),
    }
    for layer, (values, derivatives) in expected.items():
        x.grad = None
        y = layer()(x)
        y.sum().backward()
        np.testing.assert_allclose(y.numpy(), values, rtol=1e-6)
        np.testing.assert_allclose(x.grad.numpy(), derivatives, rtol=1e-5)


def test_derivative_of_relu_at_zero_is_zero_and_said_so():
    x = nnlib.tensor(0.0, requires_grad=True)
    nn.functional.relu(x).backward()
    assert x.grad.item() == 0
    for text in (nn.ReLU.__doc__, nn.functional.relu.__doc__):
        assert "derivative at 0 is 0" in text
        assert "take 1" in text


@layers
def test_derivative(layer, check_layer):
    x = np.random.default_rng(0).normal(size=(3, 4)) * 3
    fresh = nn.PReLU() if isinstance(layer, nn.PReLU) else layer
    check_layer(fresh, x)


@layers
def test_extreme_values_give_finite_results(layer, backend, place):
    x = place([[-1e4, -88.0, 0.0, 88.0, 1e4]], requires_grad=True)
    y = (nn.PReLU() if isinstance(layer, nn.PReLU) else layer)(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == "float32"
    assert np.isfinite(y.numpy()).all()
    assert np.isfinite(x.grad.numpy()).all()


def test_softplus_with_a_steeper_bend(backend, place):
    y = nn.Softplus(2.0)(place([-1.0, 0.0, 1.0]))
    np.testing.assert_allclose(y.numpy(), np.log1p(np.exp([-2.0, 0.0, 2.0])) / 2, rtol=1e-6)


def test_one_slope_for_each_channel(backend, place):
    layer = nn.PReLU(3)
    assert layer.weight.tolist() == [0.25] * 3
    layer.load_state_dict({"weight": np.array([1.0, 2.0, 3.0])})
    x = place([[-1.0, -1.0, 1.0], [0.0, 2.0, -2.0]])
    y = layer(x)
    assert y.tolist() == [[-1, -2, 1], [0, 2, -6]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [-1, -1, -2]


def test_softmax_adds_up_to_one(backend, place):
    x = place(np.random.default_rng(0).normal(size=(2, 3, 4)))
    for dim in (0, 1, -1):
        np.testing.assert_allclose(nn.Softmax(dim)(x).sum(axis=dim).numpy(), 1, rtol=1e-6)
        logarithm = nn.LogSoftmax(dim)(x)
        np.testing.assert_allclose(np.exp(logarithm.numpy()), nn.Softmax(dim)(x).numpy(), rtol=1e-5)


def test_repr_shows_the_options():
    assert repr(nn.ELU(0.5)) == "ELU(alpha=0.5)"
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"
    assert repr(nn.Hardtanh()) == "Hardtanh(min_val=-1.0, max_val=1.0)"
    assert repr(nn.LeakyReLU()) == "LeakyReLU(negative_slope=0.01)"
    assert repr(nn.LogSoftmax(1)) == "LogSoftmax(dim=1)"
    assert repr(nn.PReLU(4)) == "PReLU(num_parameters=4)"
    assert repr(nn.Softplus()) == "Softplus(beta=1.0)"
    assert repr(nn.ReLU()) == "ReLU()"


def test_bad_input_and_options():
    x = nnlib.ones(2, 3)
    with pytest.raises(DTypeError, match=r"relu needs floating-point.*int64 \(2,\)"):
        nn.ReLU()([1, 2])
    with pytest.raises(OptionError, match=r"'none', 'tanh'.*'exact'"):
        nn.GELU("exact")(x)
    with pytest.raises(OptionError, match="min_val <= max_val"):
        nn.Hardtanh(1.0, 0.5)(x)
    with pytest.raises(OptionError, match="beta must be positive"):
        nn.Softplus(0.0)(x)
    with pytest.raises(ShapeError, match=r"dim must name one of 2 axes. Received: 2"):
        nn.Softmax(2)(x)
    with pytest.raises(ShapeError, match=r"prelu must have shape \(3,\)"):
        nn.PReLU(2)(x)


def test_every_activation_has_a_layer():
    functions = [getattr(layer, "function", F.prelu) for layer in LAYERS]
    missing = [n for n in ops.activation.__all__ if getattr(ops, n) not in functions]
    assert not missing, f"add a layer to nnlib/nn/activation.py for {missing}"


def test_the_function_is_one_object_under_all_its_names():
    for name in ops.activation.__all__:
        assert getattr(nnlib, name) is getattr(F, name) is getattr(ops, name)


@pytest.mark.parametrize("name", [*ops.activation.__all__, "sigmoid", "tanh"])
def test_python_data_give_a_tensor_and_arrays_an_array(name, backend):
    function = getattr(nnlib, name)
    expected = function(nnlib.tensor([-1.0, 2.0]))
    listed = function([-1.0, 2.0])
    bare = function(expected.backend.asarray(np.array([-1.0, 2.0], np.float32)))
    assert type(listed) is nnlib.Tensor
    assert type(function(2.0)) is nnlib.Tensor
    assert type(bare) is expected.backend.array_type
    assert listed.tolist() == expected.tolist() == bare.tolist()


@pytest.mark.peers
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
@settings(max_examples=8, deadline=None)
@given(values=st.lists(st.floats(-30, 30), min_size=4, max_size=8))
def test_like_torch(check_against_torch, layer, values):
    from torch.nn import functional as theirs

    x = np.array([*values, 0.0, -1.0, 1.0, 3.0, -3.0, 6.0])[: (len(values) + 6) // 2 * 2]
    if isinstance(layer, nn.PReLU):
        check_against_torch(F.prelu, theirs.prelu, x, np.array([0.3]), rtol=1e-9)
        return
    name = layer.function.__name__
    function = getattr(theirs, name, None) or pytest.skip("PyTorch has no such function")
    options = {option: getattr(layer, option) for option in layer.options}
    if name == "softplus":
        options["threshold"] = 1000.0
    rtol = 1e-7 if name == "hardsigmoid" else 1e-9  # PyTorch has its 1/6 in float32
    check_against_torch(layer, lambda x: function(x, **options), x.reshape(2, -1), rtol=rtol)
