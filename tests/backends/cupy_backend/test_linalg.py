"""Matrices are decomposed without the libraries of CUDA that only that would need."""

from types import SimpleNamespace

import numpy as np
import pytest
from strict_backend import StrictArray, counting
from strict_backend.namespace import FIXED

import nnlib
from nnlib import models, nn
from nnlib_backends import load_backend
from nnlib_backends.cupy_backend.linalg import HostLinalg

A = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


class NoSolver:
    """CuPy's linalg where cuSOLVER is not installed."""

    norm = staticmethod(lambda x: "a norm")

    def __getattr__(self, name):
        raise ImportError("Failure finding libcusolver.so")


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setattr(FIXED.linalg, "_others", NoSolver(), raising=False)
    return load_backend("strict")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_numpys(strict, dtype):
    a = A.astype(dtype)
    with counting() as counts:
        q, r = strict.xp.linalg.qr(strict.asarray(a))
    assert (counts.reads, counts.transfers) == (1, 3)
    results = (q, r, *strict.xp.linalg.svd(strict.asarray(a), full_matrices=False))
    expected = (*np.linalg.qr(a), *np.linalg.svd(a, full_matrices=False))
    for one, other in zip(results, expected, strict=True):
        assert type(one) is StrictArray
        np.testing.assert_array_equal(one.get(), other)
    assert strict.xp.linalg.svd(strict.asarray(a))[0].shape == (5, 5)


def test_other_functions_are_cupys():
    linalg = HostLinalg(FIXED, SimpleNamespace(norm=lambda x: "a norm"))
    assert linalg.norm(A) == "a norm"
    assert not hasattr(linalg, "multi_dot")


def test_initial_weights_and_patterns_need_no_solver(strict):
    results = []
    for backend in (strict, load_backend("numpy")):
        with nnlib.use_backend(backend):
            nnlib.manual_seed(1)
            weight = nn.init.orthogonal_(nn.Linear(4, 6).weight)
            patterns = nnlib.sign(nnlib.tensor(A.T))
            network = models.Hopfield(5).store(patterns, rule="projection")
            results.append([np.array(x.tolist()) for x in (weight, network.weight)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
