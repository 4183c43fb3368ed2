"""What cuDNN is asked for: strides, the diagonal, masks, and what is left to the products."""

import numpy as np
import pytest
from described_gpu import problems
from fake_cudnn import GENERAL, World, on_device

from nnlib_backends.base import GradOut, anywhere
from nnlib_backends.cupy_backend.cudnn import attention_graph

TOLERANCE = {"float16": 3e-3, "bfloat16": 2e-2}
PLAIN = {"causal": False, "scale": None}
rng = np.random.default_rng(0)


def normal(*shape, dtype="bfloat16"):
    return on_device(rng.normal(size=shape), dtype)


def wide(array):
    if array is None or array.dtype.kind not in "fV":
        return None if array is None else np.asarray(array)
    return array.astype(np.float64).view(np.ndarray)


def close(actual, expected, dtype="bfloat16"):
    actual = np.asarray(actual).astype(np.float64)
    error = np.abs(actual - expected).max()
    assert error <= TOLERANCE[dtype] * max(np.abs(expected).max(), 1)


def check(world, name, arrays, needed=None, dtype="bfloat16", **options):
    """Compare result and gradients with the general kernel's in float64; return what was asked."""
    options = {**PLAIN, **options}
    needed = needed or (*[True] * (len(arrays) - 2), False, False)
    kernel, general = world.kernels[name], GENERAL[name]
    before = len(world.log)
    y, saved = kernel.forward(*arrays, **options)
    exact = [wide(array) for array in arrays]
    expected, weights = general.forward(*exact, **options)
    assert y.dtype == arrays[0].dtype
    close(y, expected, dtype)
    g = normal(*y.shape, dtype=dtype)
    found = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    wanted = general.backward(wide(g), weights, anywhere(needed), *exact, **options)
    for array, gradient, want, is_needed in zip(arrays, found, wanted, needed, strict=True):
        if is_needed:
            assert gradient.dtype == array.dtype
            close(gradient, want, dtype)
        else:
            assert gradient is None
    return [graph.kind for graph in world.log[before:]]


BY_CUDNN = ["attend", "attend back"]
KEYS = np.array([[True, True, False, True, True, False], [False, True, True, True, False, True]])
MASKS = {
    "no mask": None,
    "padding": KEYS[:, None, None, :],
    "integers": KEYS[:, None, None, :].astype(np.int32),
    "two axes": np.tri(6, dtype=bool),
    "nothing seen": np.arange(72).reshape(2, 1, 6, 6) % 12 >= 6,
    "added": on_device(rng.normal(size=(6, 6))),
    "added, by heads": on_device(rng.normal(size=(1, 3, 6, 6))),
    "infinities": on_device(np.where(KEYS, 0, -np.inf))[:, None, None, :],
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_agrees_with_products(world, mask, causal, dropout, dtype):
    factor = on_device(rng.integers(0, 2, (2, 3, 6, 6)) / 0.9) if dropout else None
    arrays = (normal(2, 6, 3, 3, 8, dtype=dtype), MASKS[mask], factor)
    asked = check(world, "self_attention", arrays, dtype=dtype, causal=causal, scale=0.3)
    assert asked == BY_CUDNN
    q, k, v = (arrays[0][:, :, i] for i in range(3))
    asked = check(world, "attention", (q, k, v, *arrays[1:]), dtype=dtype, causal=causal)
    assert asked == BY_CUDNN


def test_a_query_that_sees_nothing_gets_nothing(world):
    mask = np.ones((1, 1, 4, 4), bool)
    mask[0, 0, 2] = False
    qkv = normal(1, 4, 3, 2, 8)
    y, saved = world.kernels["self_attention"].forward(qkv, mask, None, **PLAIN)
    assert np.all(np.asarray(y)[0, 2] == 0)
    g = on_device(np.zeros(y.shape), "bfloat16")
    g[0, 2] = 1
    needed = (True, False, False)
    d = world.kernels["self_attention"].backward(
        g, saved, anywhere(needed), qkv, mask, None, **PLAIN
    )[0]
    assert np.all(np.asarray(d) == 0)


def test_packed_arrays_are_read_and_written_where_they_are(world, monkeypatch):
    seen, run = [], world.planner.run
    monkeypatch.setattr(world.planner, "run", lambda p, b: seen.append((p, b)) or run(p, b))
    qkv = normal(2, 6, 3, 3, 8)
    assert check(world, "self_attention", (qkv, None, None), causal=True) == BY_CUDNN
    start, step = qkv.ctypes.data, 3 * 8 * 2
    for problem, buffers in seen:
        names = (attention_graph.Q, attention_graph.K, attention_graph.V)
        assert [buffers[n].ctypes.data - start for n in names] == [0, step, 2 * step]
        for layout in (problem.q, problem.k, problem.v, *problem.gradients):
            assert layout.strides == (6 * 3 * 3 * 8, 3 * 3 * 8, 8, 1)


def test_a_gradient_goes_where_it_belongs(world):
    kernel, qkv = world.kernels["self_attention"], normal(2, 6, 3, 3, 8)
    y, saved = kernel.forward(qkv, None, None, **PLAIN)
    home = on_device(np.zeros(qkv.shape), "bfloat16")
    found = kernel.backward(y, saved, (GradOut(home), None, None), qkv, None, None, **PLAIN)
    assert found[0] is home
    assert np.any(np.asarray(home) != 0)


def test_statistics_are_kept_instead_of_weights(world):
    y, ((kept, statistics), rest) = world.kernels["self_attention"].forward(
        normal(2, 6, 3, 3, 8), None, None, **PLAIN
    )
    assert kept is y
    assert rest is None
    assert (statistics.shape, statistics.dtype) == ((2, 3, 6, 1), np.float32)


def test_fewer_queries_than_keys(world):
    """The last query sees all: cuDNN's bottom right, without a mask."""
    q, k, v = normal(2, 4, 3, 8), normal(2, 6, 3, 8), normal(2, 6, 3, 16)
    assert check(world, "attention", (q, k, v, None, None), causal=True) == BY_CUDNN
    assert {g.options["diagonal_alignment"] for g in world.log} == {"bottom right"}
    assert check(world, "attention", (q, k, v, None, None)) == BY_CUDNN
    mask = np.arange(6) != 2
    assert check(world, "attention", (q, k, v, mask, None)) == BY_CUDNN
    assert check(world, "attention", (q, k, v, mask, None), causal=True) == []


def test_square_attention_begins_at_the_top_left(world):
    """Where both alignments are the same, cuDNN knows this one beside masks, too."""
    check(world, "self_attention", (normal(2, 6, 3, 3, 8), None, None), causal=True)
    assert {g.options["diagonal_alignment"] for g in world.log} == {"top left"}


def test_rows_that_do_not_lie_as_cudnn_wants_are_copied(world):
    heads = normal(2, 6, 8, 3).swapaxes(2, 3)  # features are apart
    moved = normal(2 * 6 * 3 * 8 + 1)[1:].reshape(2, 6, 3, 8)  # 2 bytes too far
    same = np.broadcast_to(normal(1, 6, 3, 8), (2, 6, 3, 8)).view(type(heads))
    assert check(world, "attention", (heads, moved, same, None, None), causal=True) == BY_CUDNN


@pytest.mark.parametrize(
    "arrays",
    [
        (normal(2, 6, 3, 3, 5), None, None),  # features
        (normal(2, 1, 3, 3, 8), None, None),  # a single query
        (normal(2, 6, 3, 3, 8), None, on_device(np.full((2, 1, 6, 6), 0.5))),  # not of each head
    ],
    ids=["features", "one query", "broadcast factor"],
)
def test_products_do_what_cudnn_does_not(world, arrays):
    assert check(world, "self_attention", arrays, causal=True) == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wider_floats_go_to_the_products(world, dtype):
    arrays = (normal(2, 6, 3, 3, 8, dtype=dtype), None, None)
    y, saved = world.kernels["self_attention"].forward(*arrays, **PLAIN)
    expected, weights = GENERAL["self_attention"].forward(*arrays, **PLAIN)
    np.testing.assert_array_equal(y, expected)
    needed = (True, False, False)
    found = world.kernels["self_attention"].backward(y, saved, anywhere(needed), *arrays, **PLAIN)
    wanted = GENERAL["self_attention"].backward(y, weights, anywhere(needed), *arrays, **PLAIN)
    np.testing.assert_array_equal(found[0], wanted[0])
    assert world.log == []


@pytest.mark.parametrize("missing", [{"attend"}, {"attend back"}])
def test_each_direction_can_be_missing(world, missing):
    world.unsupported = missing
    arrays = (normal(2, 6, 3, 3, 8), KEYS[:, None, None, :], None)
    asked = check(world, "self_attention", arrays, causal=True)
    assert asked == (["attend"] if missing == {"attend back"} else [])


def test_gradients_by_masks_and_factors_come_from_the_products(world):
    """They need all weights, which are computed once more."""
    mask, factor = normal(2, 3, 6, 6, dtype="float32"), normal(2, 3, 6, 6, dtype="float32")
    arrays = (normal(2, 6, 3, 3, 8), mask, factor)
    asked = check(world, "self_attention", arrays, needed=(True, True, True), scale=0.3)
    assert asked == ["attend"]


def test_gradients_are_the_same_each_time_unless_somebody_says_no(choices):
    for deterministic in (True, False):
        world = World(choices, deterministic)
        check(world, "self_attention", (normal(2, 6, 3, 3, 8), None, None))
        assert world.log[1].deterministic == deterministic
        assert [problem.deterministic for problem in world.planner._plans] == [
            False, deterministic,
        ]  # fmt: skip


def test_it_asks_for_what_is_planned_for_a_described_gpu(world):
    """Otherwise `test_plans` would plan something else than what is computed."""
    known = problems.gpt2(batch=2, time=16, heads=3, features=64)
    factor = on_device(np.ones((2, 3, 16, 16)))
    for name, mask, dropout in (
        ("plain", None, None),
        ("mask", np.ones((2, 1, 1, 16), bool), None),
        ("mask and dropout", on_device(np.ones((1, 3, 16, 16))), factor),
    ):
        arrays = (normal(2, 16, 3, 3, 64), mask, dropout)
        check(world, "self_attention", arrays, causal=True)
        expected = [known[f"{name} forward"], known[f"{name} backward, the same each time"]]
        assert list(world.planner._plans)[-2:] == expected
