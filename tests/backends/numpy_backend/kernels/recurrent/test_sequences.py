"""Compiled recurrent kernels against the float64 ones, on sizes that fill no tile."""

import itertools

import numpy as np
import pytest

from nnlib_backends import load_backend
from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.numpy_backend import kernel_choice, launch
from nnlib_backends.numpy_backend.kernels import cpu_kernels

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
#: batch, time, inputs, hidden
SIZES = [(1, 1, 1, 1), (1, 5, 3, 7), (5, 1, 2, 16), (2, 3, 1, 33), (9, 4, 5, 20), (6, 2, 3, 64)]


def draw(name, B, T, D, H, lengths):
    rng, rows = np.random.default_rng(B * 100 + T), GATES[name] * H
    shapes = [(B, T, D), (rows, D), (rows, H), (rows,), (rows,)]
    shapes += [(B, H)] * (2 if name == "lstm" else 1)
    arrays = [rng.standard_normal(shape) * 0.5 for shape in shapes]
    arrays.append(rng.integers(0, T + 1, B) if lengths else None)
    if name == "lstm":
        arrays.append(rng.standard_normal(3 * H) * 0.5 if lengths else None)
    return arrays


def single(arrays):
    return [x.astype("f4") if x is not None and x.dtype == np.float64 else x for x in arrays]


def agree(ours, expected):
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=4e-6 * scale)


def compare(name, arrays, options):
    native, general = cpu_kernels.KERNELS[name], kernel_choice.general_kernels()[name]
    needed = [x is not None and x.dtype.kind == "f" for x in arrays]
    expected, kept = general.forward(*arrays, **options)
    found, saved = native.forward(*single(arrays), **options)
    agree(found, expected)
    g = np.cos(np.arange(expected.size)).reshape(expected.shape)
    theirs = general.backward(g, kept, anywhere(needed), *arrays, **options)
    ours = native.backward(g.astype("f4"), saved, anywhere(needed), *single(arrays), **options)
    for is_needed, a, b in zip(needed, ours, theirs, strict=True):
        if is_needed:
            agree(a, b)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", GATES)
def test_ragged_sizes(name, sizes):
    kinds = [{"nonlinearity": n} for n in ("tanh", "relu")] if name == "rnn" else [{}]
    for kind, reverse, lengths in itertools.product(kinds, (False, True), (False, True)):
        compare(name, draw(name, *sizes, lengths), {"reverse": reverse, **kind})


@pytest.mark.parametrize("name", GATES)
def test_results_do_not_depend_on_the_number_of_threads(name, monkeypatch):
    """But for the last bits of BLAS's products, which depend on how many rows one has."""
    arrays = single(draw(name, 21, 40, 24, 40, True))
    arrays[2] *= np.float32(0.25)  # larger recurrent weights make more of these bits at every step
    options = {"reverse": False, **({"nonlinearity": "tanh"} if name == "rnn" else {})}
    needed = [x is not None and x.dtype.kind == "f" for x in arrays]
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(launch, "thread_count", lambda n=threads: n)
        y, saved = cpu_kernels.KERNELS[name].forward(*arrays, **options)
        gradients = cpu_kernels.KERNELS[name].backward(
            y, saved, anywhere(needed), *arrays, **options
        )
        results.append(
            [y, *(x for x, is_needed in zip(gradients, needed, strict=True) if is_needed)]
        )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            agree(a, b)


@pytest.mark.parametrize("name", GATES)
def test_gradients_are_written_where_they_are_wanted(name):
    kernel, arrays = load_backend("numpy").kernels[name], single(draw(name, 3, 4, 2, 5, False))
    options = {"reverse": False, **({"nonlinearity": "tanh"} if name == "rnn" else {})}
    y, saved = kernel.forward(*arrays, **options)
    outs = [None if x is None else GradOut(np.full_like(x, np.nan)) for x in arrays]
    found = kernel.backward(y, saved, outs, *arrays, **options)
    plain = kernel.backward(y, saved, anywhere(outs), *arrays, **options)
    for out, ours, expected in zip(outs, found, plain, strict=True):
        if out is not None:
            assert ours is out.array
            np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("name", GATES)
def test_batch_of_none(name):
    arrays = single(draw(name, 2, 3, 4, 5, False))
    arrays[0] = arrays[0][:0]
    for place in range(5, 7 if name == "lstm" else 6):
        arrays[place] = arrays[place][:0]
    options = {"reverse": False, **({"nonlinearity": "tanh"} if name == "rnn" else {})}
    y, saved = cpu_kernels.KERNELS[name].forward(*arrays, **options)
    assert 0 in y.shape
    needed = [x is not None for x in arrays]
    gradients = cpu_kernels.KERNELS[name].backward(y, saved, anywhere(needed), *arrays, **options)
    assert all((gradients[i] == 0).all() for i in range(1, 5))


@pytest.mark.parametrize("name", GATES)
def test_a_sequence_that_is_no_number_leaves_the_others_alone(name):
    arrays = single(draw(name, 6, 3, 4, 5, False))
    options = {"reverse": False, **({"nonlinearity": "tanh"} if name == "rnn" else {})}
    expected, _ = cpu_kernels.KERNELS[name].forward(*arrays, **options)
    arrays[0][2, 1] = np.nan
    y, _ = cpu_kernels.KERNELS[name].forward(*arrays, **options)
    y, expected = (z.reshape(-1, 6, 3, 5) for z in (y, expected))
    assert np.isnan(y[:, 2, 1:]).all()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(y[:, others], expected[:, others])
