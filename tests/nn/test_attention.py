import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F

B, T, S, E, HEADS = 2, 4, 5, 6, 3


def draw(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize("need_weights", [False, True])
def test_shapes(backend, place, need_weights):
    layer = nn.MultiheadAttention(E, HEADS)
    q, k = (place(x) for x in draw((B, T, E), (B, S, E)))
    y, weights = layer(q, k, k, need_weights=need_weights)
    assert y.shape == (B, T, E)
    if need_weights:
        assert weights.shape == (B, T, S)
        np.testing.assert_allclose(weights.numpy().sum(axis=-1), 1, rtol=1e-5)
    else:
        assert weights is None


def test_self_attention_is_attention_to_a_copy(backend, place):
    layer = nn.MultiheadAttention(E, HEADS)
    (x,) = draw((B, T, E))
    one, other = place(x), place(x)
    for options in ({}, {"is_causal": True}, {"key_padding_mask": np.eye(B, T, dtype=bool)}):
        options = {k: place(v, "bool") if k[0] == "k" else v for k, v in options.items()}
        a, b = layer(one, one, one, **options)[0], layer(one, other, other, **options)[0]
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


def test_gradients(double):
    layer = double(nn.MultiheadAttention(E, HEADS))
    x, y = (nnlib.tensor(a, requires_grad=True) for a in draw((B, T, E), (B, S, E)))
    padding = np.zeros((B, S), bool)
    padding[0, 3:] = True
    parameters = list(layer.parameters())
    assert nnlib.gradcheck(lambda x, *_: layer(x, x, x, is_causal=True)[0], [x, *parameters])
    assert nnlib.gradcheck(
        lambda x, y, *_: layer(x, y, y, key_padding_mask=padding)[0], [x, y, *parameters]
    )


def test_dropout_in_training_only():
    layer, x = nn.MultiheadAttention(E, HEADS, dropout=0.5), nnlib.randn(B, T, E)
    assert (layer(x, x, x)[0].numpy() != layer(x, x, x)[0].numpy()).any()
    layer.eval()
    assert (layer(x, x, x)[0].numpy() == layer(x, x, x)[0].numpy()).all()


def test_arguments_are_checked():
    with pytest.raises(OptionError, match="num_heads"):
        nn.MultiheadAttention(6, 4)
    with pytest.raises(OptionError, match="batch_first"):
        nn.MultiheadAttention(6, 3, batch_first=False)
    layer, x = nn.MultiheadAttention(E, HEADS), nnlib.ones(B, T, E)
    with pytest.raises(ShapeError, match="embed_dim"):
        layer(nnlib.ones(B, T, E + 1), x, x)
    with pytest.raises(ShapeError, match="a value for every key"):
        layer(x, x, nnlib.ones(B, S, E))
    with pytest.raises(ShapeError, match="is_causal"):
        layer(x, nnlib.ones(B, S, E), nnlib.ones(B, S, E), is_causal=True)
    with pytest.raises(ShapeError, match="mask"):
        layer(x, x, x, attn_mask=np.zeros((T, S), bool))


@pytest.mark.peers
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float", "heads"])
@pytest.mark.parametrize("padding", [False, True])
def test_is_pytorchs(bias, mask, padding, double):
    torch = pytest.importorskip("torch")
    ours = double(nn.MultiheadAttention(E, HEADS, bias=bias))
    theirs = torch.nn.MultiheadAttention(E, HEADS, bias=bias, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({n: torch.tensor(v.numpy()) for n, v in ours.state_dict().items()})
    rng, arrays = np.random.default_rng(1), draw((B, T, E), (B, S, E), (B, S, E))
    options = {}
    if mask is not None:
        shape = (B * HEADS, T, S) if mask == "heads" else (T, S)
        values = rng.random(shape) < 0.3
        values[..., 0] = False
        options["attn_mask"] = rng.standard_normal(shape) if mask == "float" else values
    if padding:
        options["key_padding_mask"] = np.arange(S) >= np.array([[5], [3]])
    if mask == "float" and padding:  # PyTorch wants both of one kind
        bare = np.where(options["key_padding_mask"], -np.inf, 0.0)
        peer_options = {**options, "key_padding_mask": bare}
    else:
        peer_options = options
    a, weights = ours(*map(nnlib.tensor, arrays), need_weights=True, **options)
    b, peer_weights = theirs(
        *map(torch.tensor, arrays), **{n: torch.tensor(v) for n, v in peer_options.items()}
    )
    np.testing.assert_allclose(a.numpy(), b.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), peer_weights.detach().numpy(), atol=1e-12)
    a.sum().backward()
    b.sum().backward()
    for (label, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-10, err_msg=label)


@pytest.mark.peers
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (2, 2, 3)])
@pytest.mark.parametrize("kind", [None, "causal", "bool", "float", "scale"])
def test_function_is_pytorchs(lead, kind, check_against_torch):
    torch = pytest.importorskip("torch")
    arrays = draw((*lead, T, 4), (*lead, T, 4), (*lead, T, 3))
    options, mask = {}, None
    if kind == "causal":
        options["is_causal"] = True
    elif kind == "scale":
        options["scale"] = 0.3
    elif kind == "bool":
        mask = np.tril(np.ones((T, T), bool))
    elif kind == "float":
        mask = draw((*lead[-1:], T, T))[0]
    check_against_torch(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, **options),
        lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(
            q, k, v, None if mask is None else torch.tensor(mask), **options
        ),
        *arrays,
    )


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_nothing_to_attend_to(shape, backend):
    """No instances, or no places in time; so do the layers around it."""
    x = nnlib.zeros(*shape, requires_grad=True)
    layer = nn.MultiheadAttention(4, 2)
    for weights in (False, True):
        y, _ = layer(x, x, x, need_weights=weights)
        y.sum().backward()
        assert y.shape == x.grad.shape == shape
    assert nn.GroupNorm(2, 4)(x).shape == nn.LayerNorm(4)(x).shape == shape
    assert F.scaled_dot_product_attention(x, x, x).shape == shape


def test_leading_axes_broadcast():
    r = np.random.default_rng(0)
    q, k, v = (r.normal(size=s) for s in ((4, 3, 8), (2, 1, 5, 8), (5, 6)))
    whole = [np.broadcast_to(x, (2, 4, *x.shape[-2:])) for x in (q, k, v)]
    y = F.scaled_dot_product_attention(*map(nnlib.tensor, (q, k, v)))
    np.testing.assert_array_equal(
        y.numpy(), F.scaled_dot_product_attention(*map(nnlib.tensor, whole)).numpy()
    )
    with pytest.raises(ShapeError, match=r"must broadcast. Received: \(4, 3, 8\), \(2, 5, 8\)"):
        F.scaled_dot_product_attention(*map(nnlib.tensor, (q, k[:, 0], v)))
