import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape) * 2 + 3


def test_layer_norm_by_hand(backend, place):
    layer = nn.LayerNorm(2, eps=0.0)
    layer.load_state_dict({"weight": np.array([1.0, 10.0]), "bias": np.array([0.0, 5.0])})
    np.testing.assert_allclose(layer(place([[1.0, 3.0]])).numpy(), [[-1, 15]], rtol=1e-6)


def test_layer_norm_over_several_axes(backend, place):
    y = nn.LayerNorm((3, 4))(place(draw(2, 5, 3, 4))).numpy()
    assert y.shape == (2, 5, 3, 4)
    np.testing.assert_allclose(y.mean(axis=(2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=(2, 3)), 1, atol=1e-4)


def test_rms_norm_by_hand(backend, place):
    x = place([[3.0, 4.0, 0.0, 0.0]])
    np.testing.assert_allclose(nn.RMSNorm(4)(x).numpy(), [[1.2, 1.6, 0, 0]], rtol=1e-6)


def test_group_norm_normalises_every_group_of_every_instance(backend, place):
    y = nn.GroupNorm(2, 6)(place(draw(3, 4, 5, 6))).numpy().reshape(3, 20, 2, 3)
    np.testing.assert_allclose(y.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=(1, 3)), 1, atol=1e-3)


def test_batch_norm_normalises_every_channel(backend, place):
    for layer, x in (
        (nn.BatchNorm1d(4), draw(50, 4)),
        (nn.BatchNorm1d(4), draw(10, 5, 4)),
        (nn.BatchNorm2d(4), draw(6, 3, 3, 4)),
    ):
        y = layer(place(x)).numpy().reshape(-1, 4)
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(y.var(axis=0), 1, atol=1e-3)


def test_running_statistics_follow_the_batches(backend, place):
    layer = nn.BatchNorm1d(2)
    mean, variance = np.zeros(2), np.ones(2)
    for seed in range(3):
        x = draw(5, 2, seed=seed)
        layer(place(x))
        mean = 0.9 * mean + 0.1 * x.mean(axis=0)
        variance = 0.9 * variance + 0.1 * x.var(axis=0, ddof=1)  # unbiased
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 3
    assert layer.running_mean.dtype == "float32"
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.running_var.tolist() == [1, 1]
    assert layer.num_batches_tracked.item() == 0


def test_without_momentum_all_batches_count_alike(backend, place):
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = [draw(5, 2, seed=seed) for seed in range(4)]
    for x in batches:
        layer(place(x))
    expected = np.mean([x.mean(axis=0) for x in batches], axis=0)
    np.testing.assert_allclose(layer.running_mean.numpy(), expected, rtol=1e-5)
    assert layer.running_mean.dtype == "float32"


def test_evaluation_uses_the_running_statistics_and_leaves_them(backend, place):
    layer = nn.BatchNorm1d(2, eps=0.0).eval()
    layer.running_mean.copy_(np.array([1.0, 2.0]))
    layer.running_var.copy_(np.array([4.0, 1.0]))
    assert layer(place([[3.0, 3.0]])).tolist() == [[1, 1]]
    assert layer.running_mean.tolist() == [1, 2]
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_without_running_statistics():
    layer = nn.BatchNorm1d(2, track_running_stats=False).eval()
    assert list(layer.state_dict()) == ["weight", "bias"]
    np.testing.assert_allclose(layer(nnlib.tensor(draw(9, 2))).numpy().mean(axis=0), 0, atol=1e-7)


def test_running_statistics_are_part_of_the_state():
    layer, other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    layer(nnlib.rand(2, 4, 4, 3))
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    ]
    other.load_state_dict(layer.state_dict())
    x = nnlib.rand(1, 4, 4, 3)
    assert (layer.eval()(x).numpy() == other.eval()(x).numpy()).all()
    assert other.num_batches_tracked.item() == 1


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.LayerNorm(4), (3, 4)),
        (nn.LayerNorm((2, 3)), (2, 2, 3)),
        (nn.LayerNorm(4, elementwise_affine=False), (3, 4)),
        (nn.LayerNorm(4, bias=False), (3, 4)),
        (nn.RMSNorm(4), (3, 4)),
        (nn.RMSNorm((2, 3)), (2, 2, 3)),
        (nn.GroupNorm(2, 4), (2, 3, 4)),
        (nn.BatchNorm1d(3), (5, 3)),
        (nn.BatchNorm1d(3).eval(), (2, 2, 3)),
        (nn.BatchNorm2d(3, affine=False), (2, 2, 2, 3)),
        (nn.BatchNorm2d(3).eval(), (2, 2, 2, 3)),
    ],
    ids=repr,
)
def test_gradients(layer, shape, check_layer):
    check_layer(layer, draw(*shape))


def test_scale_and_shift_start_at_one_and_zero():
    layer = nn.LayerNorm(3)
    layer.weight.data[...] = 7
    layer.bias.data[...] = 7
    layer.reset_parameters()
    assert layer.weight.tolist() == [1, 1, 1]
    assert layer.bias.tolist() == [0, 0, 0]


def test_repr():
    assert repr(nn.LayerNorm(3)) == (
        "LayerNorm((3,), eps=1e-05, elementwise_affine=True, bias=True)"
    )
    assert repr(nn.RMSNorm(3)) == "RMSNorm((3,), eps=1e-06, elementwise_affine=True)"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05, affine=True)"
    assert repr(nn.BatchNorm1d(4)) == (
        "BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"
    )


def test_bad_input_and_options():
    with pytest.raises(ShapeError, match=r"last axes must be \(3,\). Received: float32 \(2, 4\)"):
        nn.LayerNorm(3)(nnlib.ones(2, 4))
    with pytest.raises(ShapeError, match=r"last axes must be \(2, 3\)"):
        nn.RMSNorm((2, 3))(nnlib.ones(3))
    with pytest.raises(ShapeError, match=r"\(N, C\) or \(N, T, C\) with C = 3"):
        nn.BatchNorm1d(3)(nnlib.ones(2, 2, 2, 3))
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\) with C = 3.*\(1, 3, 4, 4\)"):
        nn.BatchNorm2d(3)(nnlib.ones(1, 3, 4, 4))
    with pytest.raises(ShapeError, match="more than one value per channel when training"):
        nn.BatchNorm1d(3)(nnlib.ones(1, 3))
    assert nn.BatchNorm1d(3).eval()(nnlib.ones(1, 3)).shape == (1, 3)
    with pytest.raises(DTypeError, match="BatchNorm2d needs floating-point"):
        nn.BatchNorm2d(3)(nnlib.ones(1, 4, 4, 3, dtype="uint8"))
    with pytest.raises(OptionError, match="must divide num_channels"):
        nn.GroupNorm(3, 4)
    with pytest.raises(OptionError, match="eps must not be negative"):
        nn.LayerNorm(3, eps=-1.0)
    with pytest.raises(OptionError, match="momentum must be in"):
        nn.BatchNorm1d(3, momentum=1.5)


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).filter(lambda s: s[-1] > 1),
    axes=st.integers(1, 2),
    affine=st.booleans(),
)
def test_layer_and_rms_norm_like_torch(check_against_torch, shape, axes, affine):
    from torch.nn import functional as theirs

    last = tuple(shape[-min(axes, len(shape)) :])
    arrays = [draw(*shape)] + ([draw(*last, seed=1), draw(*last, seed=2)] if affine else [])
    check_against_torch(
        lambda x, *p: nn.functional.layer_norm(x, last, *p),
        lambda x, *p: theirs.layer_norm(x, last, *p),
        *arrays,
        rtol=1e-7,
        atol=1e-7,
    )
    check_against_torch(
        lambda x, *p: nn.functional.rms_norm(x, last, *p),
        lambda x, *p: theirs.rms_norm(x, last, *p, eps=1e-6),
        *arrays[:2],
    )


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(groups=st.integers(1, 3), width=st.integers(1, 3), size=st.integers(2, 4))
def test_group_norm_like_torch(check_against_torch, groups, width, size):
    from torch.nn import functional as theirs

    channels = groups * width
    check_against_torch(
        lambda x, w, b: nn.functional.group_norm(x, groups, w, b),
        lambda x, w, b: theirs.group_norm(x.movedim(-1, 1), groups, w, b).movedim(1, -1),
        draw(2, size, 3, channels),
        draw(channels, seed=1),
        draw(channels, seed=2),
        rtol=1e-7,
        atol=1e-7,
    )


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(
    shape=st.lists(st.integers(2, 5), min_size=2, max_size=4),
    momentum=st.one_of(st.none(), st.floats(0.0, 1.0)),
)
def test_batch_norm_like_torch(check_against_torch, double, shape, momentum):
    import torch

    channels = shape[-1]
    ours = double((nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(channels, 1e-5, momentum))
    name = "BatchNorm2d" if len(shape) == 4 else "BatchNorm1d"
    theirs = getattr(torch.nn, name)(channels, 1e-5, momentum).double()
    state = {name: draw(channels, seed=i) for i, name in enumerate(["weight", "bias"])}
    ours.load_state_dict(state, strict=False)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)
    to_torch = lambda x: theirs(x.movedim(-1, 1)).movedim(1, -1)  # noqa: E731
    for seed in range(2):
        check_against_torch(ours, to_torch, draw(*shape, seed=seed), rtol=1e-7, atol=1e-7)
    for name in ("running_mean", "running_var"):
        np.testing.assert_allclose(
            getattr(ours, name).numpy(), getattr(theirs, name).numpy(), rtol=1e-6
        )
    assert ours.num_batches_tracked.item() == theirs.num_batches_tracked.item()
    ours.eval()
    theirs.eval()
    check_against_torch(ours, to_torch, draw(*shape, seed=5), rtol=1e-6, atol=1e-6)
