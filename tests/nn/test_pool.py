import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError

IMAGE = np.arange(16.0).reshape(1, 4, 4, 1)


def test_hand_computed(backend, place):
    x = place(IMAGE)
    assert nn.MaxPool2d(2)(x).flatten().tolist() == [5, 7, 13, 15]
    assert nn.AvgPool2d(2)(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert nn.MaxPool2d(2, stride=1)(x).shape == (1, 3, 3, 1)
    assert nn.AdaptiveAvgPool2d(1)(x).flatten().tolist() == [7.5]
    assert nn.AdaptiveAvgPool2d((4, 2))(x).flatten().tolist()[:2] == [0.5, 2.5]
    assert nn.AdaptiveAvgPool2d(3)(x).flatten().tolist()[:3] == [2.5, 3.5, 4.5]
    assert nn.GlobalAvgPool()(x).tolist() == [[7.5]]


def test_padding_is_minus_infinity_or_zero(backend, place):
    x = place(-np.ones((1, 2, 2, 1)))
    assert nn.MaxPool2d(2, padding=1)(x).flatten().tolist() == [-1, -1, -1, -1]
    assert nn.AvgPool2d(2, padding=1)(x).flatten().tolist() == [-0.25] * 4


def test_first_of_equal_values_gets_the_gradient(backend, place):
    x = place(np.ones((1, 2, 2, 1)), requires_grad=True)
    nn.MaxPool2d(2)(x).sum().backward()
    assert x.grad.flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0)),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveAvgPool2d((4, 3)),
        nn.AdaptiveAvgPool2d(7),
        nn.GlobalAvgPool(),
    ],
    ids=repr,
)
def test_gradients(layer, check_layer):
    check_layer(layer, np.random.default_rng(0).permutation(120).reshape(2, 5, 6, 2) * 0.1)


def test_adaptive_to_its_own_size_changes_nothing():
    x = nnlib.rand(1, 3, 5, 2)
    assert nn.AdaptiveAvgPool2d((3, 5))(x) is x


def test_repr():
    assert repr(nn.MaxPool2d(2)) == "MaxPool2d(kernel_size=(2, 2), stride=(2, 2), padding=(0, 0))"
    assert repr(nn.AdaptiveAvgPool2d(7)) == "AdaptiveAvgPool2d(output_size=(7, 7))"


def test_bad_input_and_options():
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\). Received: float32 \(4, 4, 1\)"):
        nn.MaxPool2d(2)(nnlib.ones(4, 4, 1))
    with pytest.raises(ShapeError, match=r"window \(5, 5\) must fit"):
        nn.AvgPool2d(5)(nnlib.ones(1, 4, 4, 1))
    with pytest.raises(DTypeError, match="max_pool2d needs floating-point"):
        nn.MaxPool2d(2)(nnlib.ones(1, 4, 4, 1, dtype="int32"))
    with pytest.raises(OptionError, match="at most half the window"):
        nn.MaxPool2d(2, padding=2)(nnlib.ones(1, 4, 4, 1))
    with pytest.raises(OptionError, match="kernel_size must be an integer ≥ 1"):
        nn.MaxPool2d(0)
    with pytest.raises(OptionError, match="stride"):
        nn.AvgPool2d(2, stride=0)
    with pytest.raises(OptionError, match="output_size"):
        nn.AdaptiveAvgPool2d(0)
    with pytest.raises(ShapeError, match=r"\(N, ..., C\)"):
        nn.GlobalAvgPool()(nnlib.ones(2, 3))


def channels_first(function):
    return lambda x: function(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.peers
@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.one_of(st.none(), st.integers(1, 3)),
    padded=st.booleans(),
)
def test_like_torch(check_against_torch, size, window, stride, padded):
    from torch.nn import functional as theirs

    x = np.random.default_rng(sum(size)).normal(size=(2, *size, 3))
    padding = (window[0] // 2, window[1] // 2) if padded else (0, 0)
    for name in ("max_pool2d", "avg_pool2d"):
        check_against_torch(
            lambda x, name=name: getattr(nn.functional, name)(x, window, stride, padding),
            channels_first(lambda x, name=name: getattr(theirs, name)(x, window, stride, padding)),
            x,
        )


@pytest.mark.peers
@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    output=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_adaptive_like_torch(check_against_torch, size, output):
    from torch.nn import functional as theirs

    check_against_torch(
        lambda x: nn.functional.adaptive_avg_pool2d(x, output),
        channels_first(lambda x: theirs.adaptive_avg_pool2d(x, output)),
        np.random.default_rng(sum(size)).normal(size=(2, *size, 2)),
    )
