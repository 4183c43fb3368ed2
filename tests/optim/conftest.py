"""Shared by the tests of optimizers: running two of them on the same gradients."""

import numpy as np
import pytest

import nnlib
from nnlib import optim

SHAPES = [(3, 4), (5,), ()]
STEPS = 20


@pytest.fixture
def make_params():
    """A function: seed → parameters of several shapes with reproducible values."""

    def make(seed=0, dtype="float32", shapes=SHAPES):
        rng = np.random.default_rng(seed)
        return [
            nnlib.tensor(np.asarray(rng.normal(size=shape), dtype), requires_grad=True).to(
                nnlib.get_backend()
            )
            for shape in shapes
        ]

    return make


@pytest.fixture
def give_gradients():
    """A function that sets reproducible gradients, the same for the same seed."""

    def give(params, seed):
        rng = np.random.default_rng(seed)
        for p in params:
            values = np.asarray(rng.normal(size=p.shape), p.dtype)
            p.grad = nnlib.tensor(values, backend=p.backend)

    return give


@pytest.fixture(scope="session")
def check_against_torch():
    """A function: train with nnlib and with PyTorch on the same gradients, compare every step."""
    torch = pytest.importorskip("torch")

    def check(name, options, dtype="float64", rtol=1e-10):
        rng = np.random.default_rng(len(repr(options)))
        start = [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]
        ours = [nnlib.tensor(value.copy(), requires_grad=True) for value in start]
        theirs = [torch.tensor(value, requires_grad=True) for value in start]
        optimizer = getattr(optim, name)(ours, **options)
        oracle = getattr(torch.optim, name)(theirs, **options)
        for step in range(STEPS):
            for p, q in zip(ours, theirs, strict=True):
                gradient = np.asarray(rng.normal(size=p.shape), dtype)
                if step == 3 and p.ndim == 1:  # one parameter sits out a step
                    p.grad = q.grad = None
                else:
                    p.grad, q.grad = nnlib.tensor(gradient), torch.tensor(gradient)
            optimizer.step()
            oracle.step()
            for p, q in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(
                    p.numpy(), q.detach().numpy(), rtol, rtol, err_msg=f"step {step}, {options}"
                )

    return check
