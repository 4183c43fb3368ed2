"""Gradients that kernels add to what is there: micro-batches, and weights that are used twice."""

import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn, optim
from nnlib_backends import KernelPair, register_backend, registered_backends, use_backend
from nnlib_backends.common.fused import stored


class AddingBackend(strict_backend.StrictBackend):
    """The strict backend, whose ``linear`` and ``embedding`` can write and add gradients."""

    name = "adding"

    def __init__(self):
        self.told = []
        self.kernels = {
            name: self.noting(kernel, accumulates=name in ("linear", "embedding"))
            for name, kernel in super().kernels.items()
        }

    def noting(self, kernel, accumulates):
        def backward(g, saved, grads_out, *arrays, **options):
            self.told.append(grads_out[1] if len(grads_out) > 1 else None)
            return stored(kernel, g, saved, grads_out, *arrays, **options)

        return KernelPair(kernel.forward, backward, writes=True, accumulates=accumulates)


@pytest.fixture
def adding():
    if "adding" not in registered_backends():
        register_backend("adding", lambda device: AddingBackend(), array_module="adding")
    with use_backend("adding") as backend:
        backend.told.clear()
        yield backend


def gradients(function, backend, passes=1, **options):
    """Gradients of a layer after some passes, with gradient buffers of an optimizer."""
    with use_backend(backend):
        nnlib.manual_seed(2)
        layer = nn.Linear(4, 4, **options)
        optimizer = optim.SGD(layer.parameters(), lr=0.1)
        optimizer.step()  # creates gradient buffers
        for i in range(passes):
            x = nnlib.randn(3, 4) * (i + 1)
            function(layer, x).backward()
        return [p.grad.numpy() for p in layer.parameters()], layer


USES = {
    "once": lambda layer, x: (layer(x) ** 2).sum(),
    "twice": lambda layer, x: (layer(layer(x)) ** 2).sum(),
    "first by another operation": lambda layer, x: (layer(x) ** 2).sum() + (layer.weight**3).sum(),
    "last by another operation": lambda layer, x: (
        (layer.weight**3).sum() * (layer(x) ** 2).sum() + (layer.bias**2).sum()
    ),
    "between": lambda layer, x: (layer(layer(x) * layer.weight.sum()) ** 2).sum(),
}


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("use", USES)
def test_the_sum_is_right(adding, use, passes):
    actual, _ = gradients(USES[use], "adding", passes)
    expected, _ = gradients(USES[use], "numpy", passes)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=2e-5, atol=1e-4)


def test_a_kernel_adds_from_the_second_pass_on(adding):
    _, layer = gradients(USES["once"], "adding", passes=3)
    grad_buffer = layer.weight.node.grad_buffer
    assert [out.array is grad_buffer for out in adding.told] == [True] * 3
    assert [out.accumulate for out in adding.told] == [False, True, True]
    assert layer.weight.grad.data is grad_buffer


def test_with_a_hook_nothing_is_added_behind_its_back(adding):
    seen = []

    def hooked(layer, x):
        layer.weight.register_hook(lambda g: seen.append(g.numpy()) or g * 2)
        return (layer(x) ** 2).sum()

    actual, _ = gradients(hooked, "adding", passes=2)
    expected, _ = gradients(hooked, "numpy", passes=2)
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-5)
    np.testing.assert_allclose(seen[1], seen[4], rtol=2e-5)


def test_a_gradient_that_is_not_at_home_is_added_to_where_it_is(adding):
    _, layer = gradients(USES["once"], "adding")
    before = layer.weight.grad.numpy()
    own = layer.weight.grad.astype("float32")
    layer.weight.grad = own
    layer(nnlib.ones(1, 4)).sum().backward()
    assert layer.weight.grad is own
    np.testing.assert_allclose(own.numpy(), before + 1, rtol=1e-5)


def test_a_leaf_that_is_given_its_own_gradient_doubles_it(adding):
    _, layer = gradients(USES["once"], "adding")
    before = layer.weight.grad.numpy()
    layer.weight.backward(layer.weight.grad)
    np.testing.assert_array_equal(layer.weight.grad.numpy(), 2 * before)


def test_a_table_that_is_also_the_output_layer(adding):
    def tied(backend):
        with use_backend(backend):
            nnlib.manual_seed(5)
            model = nnlib.models.GPT(vocab_size=7, context=4, layers=1, heads=1, width=4)
            optimizer = optim.SGD(model.parameters(), lr=0.1)
            for tokens in ([[1, 2, 3]], [[4, 4, 0]]):
                nn.functional.cross_entropy(model(tokens), nnlib.tensor([[2, 3, 4]])).backward()
            optimizer.step()
            return [p.numpy() for p in model.parameters()]

    for a, e in zip(tied("adding"), tied("numpy"), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compile", [False, True])
def test_micro_batches_in_the_trainer(adding, compile):
    def run(backend):
        with use_backend(backend):
            nnlib.manual_seed(0)
            model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
            rng = np.random.default_rng(0)
            x = rng.normal(size=(48, 4)).astype("float32")
            trainer = nnlib.Trainer(
                model, "cross_entropy", optim.Adam(model.parameters(), lr=0.01),
                accumulate=3, compile=compile, progress=False, seed=1,
            )  # fmt: skip
            trainer.fit((x, np.abs(x[:, :3]).argmax(1)), epochs=4, batch_size=4)
            return [p.numpy() for p in model.parameters()]

    for a, e in zip(run("adding"), run("numpy"), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-3, atol=1e-4)
    assert any(out is not None and out.accumulate for out in adding.told)
