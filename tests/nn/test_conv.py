import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError


def test_hand_computed(backend, place):
    layer = nn.Conv2d(1, 2, kernel_size=2, bias=False)
    weight = np.array([[[1, 0], [0, 1]], [[0, 0], [0, -1]]], "float32")
    layer.load_state_dict({"weight": weight[..., None]})
    y = layer(place(np.arange(9.0).reshape(1, 3, 3, 1)))
    assert y.shape == (1, 2, 2, 2)
    assert y.numpy()[0, :, :, 0].tolist() == [[4, 6], [10, 12]]
    assert y.numpy()[0, :, :, 1].tolist() == [[-4, -5], [-7, -8]]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"kernel_size": 3}, (6, 5)),
        ({"kernel_size": 3, "padding": 1}, (8, 7)),
        ({"kernel_size": (3, 2), "stride": (2, 1)}, (3, 6)),
        ({"kernel_size": 3, "dilation": 2}, (4, 3)),
        ({"kernel_size": 3, "padding": (2, 0)}, (10, 5)),
        ({"kernel_size": 3, "padding": "valid"}, (6, 5)),
        ({"kernel_size": 3, "padding": "same"}, (8, 7)),
        ({"kernel_size": (2, 4), "padding": "same", "dilation": (3, 1)}, (8, 7)),
        ({"kernel_size": 3, "groups": 2}, (6, 5)),
    ],
    ids=str,
)
def test_output_size(options, size, backend):
    layer = nn.Conv2d(4, 6, **options)
    assert layer(nnlib.ones(2, 8, 7, 4)).shape == (2, *size, 6)


def test_even_same_padding_puts_the_odd_zero_last():
    layer = nn.Conv2d(1, 1, kernel_size=(1, 2), padding="same", bias=False)
    layer.load_state_dict({"weight": np.ones((1, 1, 2, 1))})
    assert layer(nnlib.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 3, 1)).tolist() == [
        [[[3.0], [6.0], [4.0]]]
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 1},
        {"stride": 2, "padding": (0, 1)},
        {"dilation": 2, "padding": "same"},
        {"groups": 2, "bias": False},
    ],
    ids=str,
)
def test_gradients(options, check_layer):
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4))
    check_layer(nn.Conv2d(4, 2, kernel_size=2, **options), x)


def test_gradients_along_time(check_layer):
    x = np.random.default_rng(0).normal(size=(2, 7, 2))
    check_layer(nn.Conv1d(2, 3, kernel_size=3, stride=2, padding=1), x)
    check_layer(nn.Conv1d(2, 2, kernel_size=2, padding="same", dilation=2, groups=2), x)


def test_initial_values_lie_within_one_over_root_fan_in():
    layer = nn.Conv2d(16, 64, kernel_size=3)
    for parameter in layer.parameters():
        largest = abs(parameter.numpy()).max()
        assert 0.9 / 12 < largest <= 1 / 12
    assert layer.weight.shape == (64, 3, 3, 16)
    assert nn.Conv1d(6, 4, 5, groups=2).weight.shape == (4, 5, 3)


def test_repr():
    assert repr(nn.Conv2d(3, 8, 3, padding="same")) == (
        "Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding='same', dilation=(1, 1), "
        "groups=1, bias=True)"
    )
    assert repr(nn.Conv1d(3, 8, 3, stride=2, bias=False)) == (
        "Conv1d(3, 8, kernel_size=(3,), stride=2, padding=0, dilation=1, groups=1, bias=False)"
    )


def test_bad_input(backend):
    layer = nn.Conv2d(3, 4, kernel_size=3)
    with pytest.raises(ShapeError, match=r"in_channels = 3.*Received: float32 \(2, 8, 8, 4\)"):
        layer(nnlib.ones(2, 8, 8, 4))
    with pytest.raises(ShapeError, match=r"Channels come last: x.transpose\(0, 2, 3, 1\)"):
        layer(nnlib.ones(2, 3, 8, 8))
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\)"):
        layer(nnlib.ones(8, 8, 3))
    with pytest.raises(ShapeError, match=r"window \(3, 3\) must fit into the padded image \(2, 9"):
        layer(nnlib.ones(1, 2, 9, 3))
    with pytest.raises(DTypeError, match="Conv2d needs floating-point"):
        layer(nnlib.ones(1, 8, 8, 3, dtype="uint8"))
    with pytest.raises(
        ShapeError, match=r"\(N, T, C\).*Channels come last: x.transpose\(0, 2, 1\)"
    ):
        nn.Conv1d(3, 4, 2)(nnlib.ones(2, 3, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel_size must be an integer ≥ 1"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be"),
        ({"kernel_size": 3, "stride": 0}, "stride must be an integer ≥ 1"),
        ({"kernel_size": 3, "padding": -1}, "padding must be an integer ≥ 0"),
        ({"kernel_size": 3, "padding": "full"}, "padding must be one of 'valid', 'same'"),
        ({"kernel_size": 3, "padding": "same", "stride": 2}, "padding='same' needs stride 1"),
        ({"kernel_size": 3, "groups": 3}, "groups must divide"),
        ({"kernel_size": 3, "groups": 0}, "groups"),
    ],
    ids=str,
)
def test_bad_options(options, message):
    with pytest.raises(OptionError, match=message):
        nn.Conv2d(6, 4, **options)


@st.composite
def convolutions(draw):
    """Shapes (image, filters) and options that fit together."""
    groups = draw(st.integers(1, 2))
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(
        st.one_of(
            st.just("same"), st.just("valid"), st.tuples(st.integers(0, 2), st.integers(0, 2))
        )
    )
    strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
    stride = (1, 1) if padding == "same" else draw(strides)
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    size = [r + draw(st.integers(0, 4)) for r in reach]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (draw(st.integers(1, 2)), *size, c_in), (c_out, *window, c_in // groups), options


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@settings(max_examples=40, deadline=None)
@given(case=convolutions(), bias=st.booleans())
def test_like_torch(check_against_torch, case, bias):
    from torch.nn import functional as theirs

    image, filters, options = case
    rng = np.random.default_rng(sum(image))
    arrays = [rng.normal(size=image), rng.normal(size=filters)]
    arrays += [rng.normal(size=filters[0])] if bias else []
    check_against_torch(
        lambda x, w, b=None: nn.functional.conv2d(x, w, b, **options),
        lambda x, w, b=None: theirs.conv2d(
            x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), b, **options
        ).permute(0, 2, 3, 1),
        *arrays,
    )


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    time=st.integers(5, 8),
)
def test_along_time_like_torch(check_against_torch, stride, padding, dilation, time):
    from torch.nn import functional as theirs

    rng = np.random.default_rng(time)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 2}
    check_against_torch(
        lambda x, w, b: nn.functional.conv1d(x, w, b, **options),
        lambda x, w, b: theirs.conv1d(x.transpose(1, 2), w.transpose(1, 2), b, **options).transpose(
            1, 2
        ),
        rng.normal(size=(2, time, 4)),
        rng.normal(size=(6, 3, 2)),
        rng.normal(size=6),
    )
