"""Second derivatives of a two-layer network against JAX, in float64."""

import numpy as np
import pytest
from ops.table import peer

import nnlib
from nnlib import ops
from nnlib_backends import load_backend

pytestmark = pytest.mark.peers
jax = peer("jax")


@pytest.fixture(autouse=True)
def _double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def parameters():
    rng = np.random.default_rng(3)
    return [rng.normal(size=s) for s in [(5, 3), (5,), (4, 5), (4,)]]


X = np.random.default_rng(4).normal(size=(6, 3))
LABELS = np.array([0, 1, 2, 3, 0, 1])


def our_loss(activation):
    def loss(w1, b1, w2, b2):
        hidden = activation(ops.linear(nnlib.tensor(X), w1, b1))
        logits = ops.linear(hidden, w2, b2)
        return nnlib.mean(ops.softmax_cross_entropy(logits, nnlib.tensor(LABELS)))

    return loss


def their_loss(activation):
    def loss(w1, b1, w2, b2):
        logits = activation(X @ w1.T + b1) @ w2.T + b2
        chosen = jax.nn.log_softmax(logits)[np.arange(6), LABELS]
        return -chosen.mean()

    return loss


ACTIVATIONS = {
    "tanh": (nnlib.tanh, lambda x: jax.numpy.tanh(x)),
    "sigmoid": (nnlib.sigmoid, lambda x: jax.nn.sigmoid(x)),
    "gelu": (ops.gelu, lambda x: jax.nn.gelu(x, approximate=False)),
    "softplus": (ops.softplus, lambda x: jax.nn.softplus(x)),
}


@pytest.mark.parametrize("kernels", ["kernels", "definition"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_hessian_of_a_two_layer_network(name, kernels, monkeypatch):
    if kernels == "definition":
        monkeypatch.setattr(load_backend("numpy"), "kernels", {})
    ours, theirs = ACTIVATIONS[name]
    values = parameters()
    expected = jax.hessian(their_loss(theirs), argnums=(0, 1, 2, 3))(*values)
    first = nnlib.grad(our_loss(ours), argnums=(0, 1, 2, 3))
    for i in range(4):
        rows = []
        for place in range(values[i].size):
            row = nnlib.grad(
                lambda *p, i=i, place=place: first(*p)[i].reshape(-1)[place], (0, 1, 2, 3)
            )
            rows.append([g.numpy() for g in row(*values)])
        for j in range(4):
            found = np.stack([row[j] for row in rows]).reshape(expected[i][j].shape)
            np.testing.assert_allclose(found, expected[i][j], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_penalty(name):
    """A loss on the gradient itself, differentiated by backward(create_graph=True)."""
    ours, theirs = ACTIVATIONS[name]
    weights = [nnlib.tensor(p, requires_grad=True) for p in parameters()]
    our_loss(ours)(*weights).backward(create_graph=True)
    first = [w.grad for w in weights]
    for w in weights:
        w.grad = None
    sum((g * g).sum() for g in first).backward()

    def penalty(*p):
        return sum((g * g).sum() for g in jax.grad(their_loss(theirs), argnums=(0, 1, 2, 3))(*p))

    expected = jax.grad(penalty, argnums=(0, 1, 2, 3))(*parameters())
    for w, e in zip(weights, expected, strict=True):
        np.testing.assert_allclose(w.grad.numpy(), e, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_higher_orders(order):
    def ours(x):
        return nnlib.tanh(x * x) * nnlib.exp(-x) + 1 / (1 + x**3)

    def theirs(x):
        return jax.numpy.tanh(x * x) * jax.numpy.exp(-x) + 1 / (1 + x**3)

    f, g = ours, theirs
    for _ in range(order):
        f, g = nnlib.grad(f), jax.grad(g)
    x = np.float64(0.7)
    np.testing.assert_allclose(f(nnlib.tensor(np.array(x))).item(), g(x), rtol=1e-9)


def test_nested_gradients_see_the_outer_variable():
    def ours(x):
        return x * nnlib.grad(lambda y: nnlib.sin(x * y) * y)(x * x)

    def theirs(x):
        return x * jax.grad(lambda y: jax.numpy.sin(x * y) * y)(x * x)

    x = np.array(0.6)
    np.testing.assert_allclose(nnlib.grad(ours)(x).item(), jax.grad(theirs)(x), rtol=1e-12)
