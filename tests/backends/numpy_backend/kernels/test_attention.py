"""Compiled attention against the float64 kernel, on sizes that fill no tile and several blocks."""

import numpy as np
import pytest

from nnlib_backends.base import anywhere
from nnlib_backends.numpy_backend import kernel_choice, launch
from nnlib_backends.numpy_backend.kernels import attention

#: batch, queries, keys, heads, features, features of values
SIZES = [
    (1, 1, 1, 1, 1, 1), (1, 1, 7, 2, 5, 3), (2, 5, 5, 3, 16, 16), (1, 65, 70, 1, 20, 33),
    (3, 130, 130, 2, 8, 8), (1, 16, 33, 2, 64, 48),
]  # fmt: skip


def draw(B, T, S, H, D, E, mask, factor):
    rng = np.random.default_rng(T)
    arrays = [rng.standard_normal(shape) for shape in ((B, T, H, D), (B, S, H, D), (B, S, H, E))]
    shapes = {"batch": (B, 1, 1, S), "query": (T, S), "head": (H, 1, S), "all": (B, H, T, S)}
    allowed = rng.random(shapes[mask]) < 0.6 if mask else None
    dropped = (rng.random((B, H, T, S)) < 0.8) / 0.8 if factor else None
    return [*arrays, allowed, dropped]


def single(arrays):
    return [x.astype("f4") if x is not None and x.dtype == np.float64 else x for x in arrays]


def compare(name, arrays, **options):
    native, general = attention.KERNELS[name], kernel_choice.general_kernels()[name]
    needed = [i < len(arrays) - 2 for i in range(len(arrays))]
    expected, kept = general.forward(*arrays, **options)
    found, saved = native.forward(*single(arrays), **options)
    assert saved.ndim == 2, "the compiled kernel must have computed this"
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-6)
    g = np.cos(np.arange(expected.size)).reshape(expected.shape)
    theirs = general.backward(g, kept, anywhere(needed), *arrays, **options)
    ours = native.backward(g.astype("f4"), saved, anywhere(needed), *single(arrays), **options)
    for is_needed, a, b in zip(needed, ours, theirs, strict=True):
        if is_needed:
            np.testing.assert_allclose(a, b, rtol=0, atol=4e-6 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("factor", [False, True])
@pytest.mark.parametrize("mask", [None, "batch", "query", "head", "all"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_ragged_sizes(sizes, causal, mask, factor):
    compare("attention", draw(*sizes, mask, factor), causal=causal, scale=None)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [s for s in SIZES if s[1] == s[2]], ids=str)
def test_packed(sizes, causal):
    B, T, _, H, D, _ = sizes
    rng = np.random.default_rng(0)
    qkv, allowed = rng.standard_normal((B, T, 3, H, D)), rng.random((B, 1, 1, T)) < 0.6
    compare("self_attention", [qkv, None, None], causal=causal, scale=0.3)
    compare("self_attention", [qkv, allowed, None], causal=causal, scale=None)


def test_a_query_that_sees_nothing_gets_nothing():
    q, k, v, _, _ = single(draw(1, 3, 5, 1, 4, 4, None, False))
    mask = np.ones((3, 5), bool)
    mask[1] = False
    y, saved = attention.KERNELS["attention"].forward(q, k, v, mask, None, causal=False, scale=None)
    assert (y[0, 1] == 0).all()
    assert (y[0, 0] != 0).all()
    g = np.ones_like(y)
    for d in attention.KERNELS["attention"].backward(
        g,
        saved,
        anywhere([True, True, True, False, False]),
        q,
        k,
        v,
        mask,
        None,
        causal=False,
        scale=None,
    )[:3]:
        assert np.isfinite(d).all()


def test_large_scores_do_not_overflow():
    q, k, v, _, _ = single(draw(1, 4, 6, 1, 4, 4, None, False))
    y, _ = attention.KERNELS["attention"].forward(
        q * 1e4, k * 1e4, v, None, None, causal=False, scale=None
    )
    chosen = (q[0, :, 0] @ k[0, :, 0].T).argmax(axis=1)
    np.testing.assert_allclose(y[0, :, 0], v[0, chosen, 0], rtol=1e-6)


def test_a_query_that_is_no_number_leaves_the_others_alone():
    q, k, v, _, _ = single(draw(1, 3, 4, 2, 4, 4, None, False))
    q[0, 1, 0] = np.nan
    y, _ = attention.KERNELS["attention"].forward(q, k, v, None, None, causal=False, scale=None)
    assert np.isnan(y[0, 1, 0]).all()
    assert np.isfinite(y[0, 1, 1]).all()
    assert np.isfinite(y[0, [0, 2]]).all()


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    arrays, results = single(draw(2, 70, 70, 3, 16, 16, None, False)), []
    for threads in (1, 2, 3):
        monkeypatch.setattr(launch, "thread_count", lambda n=threads: n)
        y, saved = attention.KERNELS["attention"].forward(*arrays, causal=True, scale=None)
        needed = [True, True, True, False, False]
        d = attention.KERNELS["attention"].backward(
            y, saved, anywhere(needed), *arrays, causal=True, scale=None
        )
        results.append([y, *d[:3]])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
