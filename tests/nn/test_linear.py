import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import BackendMismatchError, DTypeError, OptionError, ShapeError


def test_course_network_has_13_parameters():
    """L4: two inputs, three hidden neurons, one output: 6 + 3 + 3 + 1."""
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1), nn.Sigmoid())
    assert [p.size for p in net.parameters()] == [6, 3, 3, 1]
    assert sum(p.size for p in net.parameters()) == 13


def test_forward_is_the_courses_equation(backend, place):
    """L5: z = W a + b, for one instance and for all as rows of a matrix."""
    layer = nn.Linear(3, 2)
    weight, bias = np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([7.0, 8])
    layer.load_state_dict({"weight": weight, "bias": bias})
    assert layer(place([1.0, 0.0, -1.0])).tolist() == [5, 6]
    assert layer(place([[1.0, 0, -1], [0, 1, 0]])).tolist() == [[5, 6], [9, 13]]
    assert layer(place(np.zeros((4, 5, 3)))).shape == (4, 5, 2)


def test_bias_folds_into_theta():
    """L8: append 1 to every instance and b to W; values and gradients are the same."""
    layer, x = nn.Linear(4, 3), nnlib.randn(6, 4)
    theta = nnlib.concatenate([layer.weight.detach(), layer.bias.detach().reshape(3, 1)], axis=1)
    theta.requires_grad = True
    extended = nnlib.concatenate([x, nnlib.ones(6, 1)], axis=1)
    a, b = layer(x), nn.functional.linear(extended, theta)
    np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)
    (a * a).sum().backward()
    (b * b).sum().backward()
    folded = np.column_stack([layer.weight.grad.numpy(), layer.bias.grad.numpy()])
    np.testing.assert_allclose(theta.grad.numpy(), folded, rtol=1e-5, atol=1e-5)


def test_linear_layers_collapse_to_one():
    """L10: without activations between them, layers are one linear map."""
    net = nn.Sequential(nn.Linear(3, 5), nn.Identity(), nn.Linear(5, 4), nn.Linear(4, 2))
    weight, bias = np.eye(3), np.zeros(3)
    for layer in (net[0], net[2], net[3]):
        w = layer.weight.numpy()
        weight, bias = w @ weight, w @ bias + layer.bias.numpy()
    one = nn.Linear(3, 2)
    one.load_state_dict({"weight": weight, "bias": bias})
    x = nnlib.randn(10, 3)
    np.testing.assert_allclose(net(x).numpy(), one(x).numpy(), atol=1e-6)
    bent = nn.Sequential(net[0], nn.Tanh(), net[2], net[3])
    assert abs(bent(x).numpy() - one(x).numpy()).max() > 0.01


def test_initial_values_lie_within_one_over_root_fan_in():
    layer = nn.Linear(400, 300)
    for parameter in layer.parameters():
        largest = abs(parameter.numpy()).max()
        assert 0.95 / 20 < largest <= 1 / 20
    before = layer.weight.numpy()
    layer.reset_parameters()
    assert not (layer.weight.numpy() == before).any()


def test_gradients(check_layer):
    check_layer(nn.Linear(3, 2), np.random.default_rng(0).normal(size=(4, 3)))
    check_layer(nn.Linear(3, 2, bias=False), np.random.default_rng(1).normal(size=(2, 2, 3)))


def test_no_bias():
    layer = nn.Linear(2, 1, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]


def test_bad_input():
    layer = nn.Linear(3, 2)
    with pytest.raises(ShapeError, match=r"in_features = 3 values. Received: float32 \(2, 4\)"):
        layer(nnlib.ones(2, 4))
    with pytest.raises(ShapeError, match="in_features = 3"):
        layer(nnlib.tensor(1.0))
    with pytest.raises(DTypeError, match=r"int64 \(2, 3\). Convert them: x.astype\('float32'\)"):
        layer(nnlib.ones(2, 3, dtype="int64"))
    with pytest.raises(BackendMismatchError, match=r"linear.*'numpy'.*'strict'"):
        layer(nnlib.ones(2, 3, backend="strict"))
    with pytest.raises(OptionError, match="integers ≥ 0"):
        nn.Linear(3, -1)


@pytest.mark.peers
@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    out=st.integers(1, 5),
    bias=st.booleans(),
)
def test_like_torch(check_against_torch, shape, out, bias):
    from torch.nn import functional as theirs

    rng = np.random.default_rng(sum(shape))
    arrays = [rng.normal(size=shape), rng.normal(size=(out, shape[-1]))]
    arrays += [rng.normal(size=out)] if bias else []
    check_against_torch(nn.functional.linear, theirs.linear, *arrays)
