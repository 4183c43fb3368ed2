"""Products as cuBLASLt is asked for them; a double of it computes what it was asked on the host."""

import ml_dtypes
import numpy as np
import pytest
from fake_cublaslt import World
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def world():
    return World()


rng = np.random.default_rng(0)
LOW = ["float16", "bfloat16"]


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def close(actual, expected, dtype="float32"):
    assert actual.dtype == dtype
    tolerance = 8 * float(ml_dtypes.finfo(dtype).eps)
    actual, expected = (np.asarray(x, np.float64) for x in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=10 * tolerance)


def by_rows(*shape):
    return normal(*shape)


def by_columns(*shape):
    return normal(*shape[:-2], shape[-1], shape[-2]).swapaxes(-1, -2)


def part_of_wider_rows(*shape):
    return normal(*shape[:-1], shape[-1] + 3)[..., 1:-2]


def part_of_longer_columns(*shape):
    return normal(*shape[:-2], shape[-1], shape[-2] + 5).swapaxes(-1, -2)[..., 2:-3, :]


IN_PLACE = [by_rows, by_columns, part_of_wider_rows, part_of_longer_columns]


@pytest.mark.parametrize("right", IN_PLACE)
@pytest.mark.parametrize("left", IN_PLACE)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_operands_are_read_where_they_are(world, left, right, batch):
    a, b = left(*batch, 5, 7), right(*batch, 7, 4)
    close(world.products.matmul(a, b), a @ b)
    assert world.copies == 0
    assert world.fallbacks == []
    assert {call.transposed for call in world.lt.calls} == {
        (right in IN_PLACE[1::2], left in IN_PLACE[1::2])
    }


@pytest.mark.parametrize("dtype", ["float32", "float64", *LOW])
def test_dtypes(world, dtype):
    a, b = normal(33, 65, dtype=dtype), normal(65, 17, dtype=dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    close(world.products.matmul(a, b), expected.astype(dtype), dtype)
    (call,) = world.lt.calls
    assert call.compute == (70 if dtype == "float64" else 68)
    assert call.stream == 5
    assert call.workspace == (7005, 32 << 20)


@pytest.mark.parametrize("dtype", LOW)
def test_products_of_16_bits_leave_their_sums_as_they_are_in_float32(world, dtype):
    a, b = normal(6, 300, dtype=dtype), normal(300, 8, dtype=dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    for out in (np.empty((6, 8), np.float32), part_of_wider_rows(6, 8)):
        assert world.products.matmul(a, b, out=out) is out
        np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-4)  # 16 bits would be 1e-2
    assert world.lt.calls[0].dtypes == (dtype, "float32")
    expected = out + exact
    world.products.product(a, b, out, accumulate=True)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-4)
    assert [call.dtypes for call in world.lt.calls] == [(dtype, "float32")] * 3
    batch = np.empty((2, 6, 8), np.float32)
    world.products.matmul(np.stack([a, a]), b, out=batch)
    np.testing.assert_allclose(batch[1], exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", LOW)
def test_partial_sums_are_never_of_16_bits(world, dtype):
    a = normal(6, 8, dtype=dtype)
    world.products.matmul(a, a.T)
    assert world.lt.preference["REDUCTION_SCHEME_MASK"] == 2  # in the type of computing
    world.products.matmul(a.astype("float32"), a.T.astype("float32"))
    assert "REDUCTION_SCHEME_MASK" not in world.lt.preference


@pytest.mark.parametrize("dtype", LOW)
def test_without_cublaslt_cupy_multiplies_matrices_of_16_bits_itself(dtype):
    world = World(cublaslt=False)
    a, b = normal(6, 8, dtype=dtype), normal(8, 5, dtype=dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    close(world.products.matmul(a, b), exact, dtype)
    close(world.products.matmul(a[0], b), exact[0], dtype)
    close(world.products.product(a, b), exact, dtype)
    out = np.empty((6, 5), dtype)
    assert world.products.matmul(a, b, out=out) is out
    close(out, exact, dtype)
    close(world.products.matmul(a, b.astype(np.float32)), exact)
    assert [name for name, *_ in world.fallbacks] == [dtype] * 5
    assert not world.products.fused(a, b, out, "RELU")


@pytest.mark.parametrize("dtype", LOW)
def test_without_cublaslt_what_cupy_would_round_is_multiplied_in_float32(dtype):
    world = World(cublaslt=False)
    a, b = normal(6, 300, dtype=dtype), normal(300, 5, dtype=dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    batch = np.empty((2, 6, 5), np.float32)
    world.products.matmul(np.stack([a, a]), b, out=batch)
    np.testing.assert_allclose(batch[1], exact, rtol=1e-5, atol=1e-4)
    close(world.products.matmul(np.stack([a, a]), b)[1], exact, dtype)
    large = np.full(3, 300, dtype)  # its square is no float16
    pair = np.stack([large, -large]).reshape(-1)
    for product in (world.products.matmul, world.products.dot):
        assert product(pair, np.abs(pair)) == 0
    assert world.products.matmul(pair[None], np.abs(pair)[:, None]) == 0
    assert {name for name, *_ in world.fallbacks} == {"float32"}


LAYOUTS = {
    "rows": lambda n, m, dtype: normal(n, m, dtype=dtype),
    "columns": lambda n, m, dtype: normal(m, n, dtype=dtype).T,
    "part of wider rows": lambda n, m, dtype: normal(n, m + 3, dtype=dtype)[:, 1:-2],
    "every second column": lambda n, m, dtype: normal(n, 2 * m, dtype=dtype)[:, ::2],
}


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("dtype", LOW)
def test_without_cublaslt_cublas_leaves_sums_in_float32(dtype, left, right):
    world = World(cublaslt=False)
    a, b = LAYOUTS[left](6, 300, dtype), LAYOUTS[right](300, 5, dtype)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    out = part_of_wider_rows(6, 5)
    assert world.products.matmul(a, b, out=out) is out
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-4)
    world.products.product(a, b, out, accumulate=True)
    np.testing.assert_allclose(out, 2 * exact, rtol=1e-5, atol=1e-4)
    assert len(world.cuda.calls) == 2
    assert world.fallbacks == []
    world.products.matmul(a[:, :0], b[:0], out=np.empty((6, 5), np.float32))  # nothing to add up
    assert len(world.cuda.calls) == 2


@pytest.mark.parametrize("dtype", LOW)
def test_dot_of_vectors_of_16_bits_sums_in_float32(world, dtype):
    pair = np.array([300, -300], dtype)
    assert world.products.dot(pair, np.abs(pair)) == 0


def test_tf32_is_a_choice_for_float32_alone(world):
    world.tf32 = True
    for dtype in ("float32", "float64", "float16"):
        world.products.matmul(normal(2, 3, dtype=dtype), normal(3, 2, dtype=dtype))
    assert [call.compute for call in world.lt.calls] == [77, 70, 68]
    world.tf32 = False
    world.products.matmul(normal(2, 3), normal(3, 2))
    assert world.lt.calls[-1].compute == 68  # another plan


def test_mixed_dtypes_are_promoted(world):
    a, b = normal(2, 3), normal(3, 4, dtype=np.float64)
    close(world.products.matmul(a, b), a @ b, "float64")
    assert world.fallbacks == []


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
     ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((1, 1), (1, 1)),
     ((1, 3), (3, 1)), ((2, 1), (1, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((4, 0, 3), (3, 2)),
     ((0,), (0,))],
)  # fmt: skip
def test_shapes_as_numpy_has_them(world, left, right):
    a, b = normal(*left), normal(*right)
    close(world.products.matmul(a, b), a @ b)
    assert world.fallbacks == []


@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), (3,)), ((2, 3), (3, 4)), ((2, 3), (3,)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)),
     ((2, 3), (5, 3, 4)), ((3,), (3, 2)), ((), (3,)), ((2, 3), ())],
)  # fmt: skip
def test_dot(world, left, right):
    a, b = normal(*left), normal(*right)
    close(world.products.dot(a, b), np.dot(a, b))


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5)), ((3,), (4,)), ((2, 2, 3), (3, 3, 4))])
def test_shapes_that_do_not_fit_are_refused_as_numpy_does(world, shapes):
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own words, or CuPy's
        world.products.matmul(normal(*shapes[0]), normal(*shapes[1]))


def test_integers_are_left_to_cupy(world):
    a = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(world.products.matmul(a, a.T), a @ a.T)
    assert len(world.fallbacks) == 1
    assert world.lt.calls == []


def test_strides_that_no_matrix_has_are_copied(world):
    a, b = normal(5, 14)[:, ::2], normal(7, 4)[::-1]
    close(world.products.matmul(a, b), a @ b)
    repeated = np.broadcast_to(normal(7), (5, 7))
    close(world.products.matmul(repeated, b), repeated @ b)
    assert world.copies == 4


def test_contiguous_batches_are_one_call(world):
    a, b = normal(2, 3, 4, 5), normal(2, 3, 5, 6)
    close(world.products.matmul(a, b), a @ b)
    assert [call.batch for call in world.lt.calls] == [6]


def test_heads_are_read_where_they_are(world):
    """Attention: (B, T, H, D) arrays, whose heads are (B, H, T, D) views."""
    q, k = (normal(2, 5, 8, 4).swapaxes(1, 2) for _ in range(2))
    close(world.products.matmul(q, k.swapaxes(2, 3)), q @ k.swapaxes(2, 3))
    assert world.copies == 0
    assert [call.batch for call in world.lt.calls] == [8, 8]  # a call for each example
    packed = normal(2, 5, 3, 8, 4)
    q, k = (packed[:, :, i].swapaxes(1, 2) for i in range(2))
    close(world.products.matmul(q, k.swapaxes(2, 3)), q @ k.swapaxes(2, 3))
    assert world.copies == 0
    assert world.lt.plans == 2


def test_many_examples_are_copied_once_instead_of_called_one_by_one(world):
    q, k = (normal(20, 5, 30, 4).swapaxes(1, 2) for _ in range(2))
    close(world.products.matmul(q, k.swapaxes(2, 3)), q @ k.swapaxes(2, 3))
    assert [call.batch for call in world.lt.calls] == [600]
    a, b = normal(40, 1, 2, 3), normal(1, 30, 3, 2)
    close(world.products.matmul(a, b), a @ b)
    assert world.lt.calls[-1].batch == 1200


@pytest.mark.parametrize("make", [by_rows, by_columns, part_of_wider_rows])
def test_out(world, make):
    a, b, out = normal(2, 3, 4), normal(2, 4, 5), make(2, 3, 5)
    assert world.products.matmul(a, b, out=out) is out
    close(out, a @ b)
    out = np.zeros(3, np.float32)
    assert world.products.matmul(a[0], b[0, :, 0], out=out) is out
    close(out, a[0] @ b[0, :, 0])
    out = np.zeros((3, 5))  # of another dtype
    world.products.matmul(a[0], b[0], out=out)
    np.testing.assert_allclose(out, a[0] @ b[0], rtol=1e-5)


@pytest.mark.parametrize("make", [by_rows, by_columns])
def test_accumulation(world, make):
    a, b, out = normal(3, 4), normal(4, 5), make(3, 5)
    expected = out + a @ b
    assert world.products.product(a, b, out, accumulate=True) is out
    close(out, expected)
    assert world.lt.calls[-1].beta == 1
    world.products.product(a[:, :0], b[:0], out, accumulate=True)
    close(out, expected)


@pytest.mark.parametrize("dtype", ["float32", *LOW])
@pytest.mark.parametrize("name", ["BIAS", "RELU", "RELU_BIAS", "GELU_AUX", "GELU_AUX_BIAS"])
def test_epilogues(world, name, dtype):
    a, b = normal(6, 4, dtype=dtype), normal(8, 4, dtype=dtype).T
    bias = normal(8, dtype=dtype) if "BIAS" in name else None
    aux = world.empty((6, 8), dtype) if "AUX" in name else None
    out = world.empty((6, 8), dtype)
    assert world.products.fused(a, b, out, name, bias, aux)
    z = a.astype(np.float64) @ b.astype(np.float64)
    z = z if bias is None else z + bias.astype(np.float64)
    if aux is not None:
        close(aux, z, dtype)
        z = z * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    close(out, np.maximum(z, 0) if "RELU" in name else z, dtype)
    assert [call.epilogue for call in world.lt.calls] == [name]


@pytest.mark.parametrize("dtype", ["float32", *LOW])
def test_sums_of_rows_come_with_the_product(world, dtype):
    """The gradients of a weight and of its bias: gᵀ·x, and the sums of gᵀ's rows, in float32."""
    g, x = normal(9, 5, dtype=dtype), normal(9, 4, dtype=dtype)
    dw, db = world.empty((5, 4), np.float32), world.empty((5,), np.float32)
    assert world.products.fused(g.T, x, dw, "BGRADB", db)
    g, x = g.astype(np.float64), x.astype(np.float64)
    np.testing.assert_allclose(dw, g.T @ x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(db, g.sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("refuse", ["none", "error", "RELU_BIAS"])
def test_an_epilogue_that_cublaslt_lacks_is_refused_and_nothing_done(world, refuse):
    world.lt.refuse = refuse
    a, b, out = normal(6, 4), normal(4, 8), np.zeros((6, 8), np.float32)
    for _ in range(2):
        assert not world.products.fused(a, b, out, "RELU_BIAS", normal(8))
    assert not out.any()
    assert world.lt.calls == world.fallbacks == []
    assert world.lt.destroyed == 5  # it was asked for once


def test_what_an_epilogue_stores_besides_must_be_aligned(world):
    a, b = normal(6, 4), normal(4, 8)
    aux = world.empty((7 * 8,), np.float32)
    assert not world.products.fused(a, b, normal(6, 8), "GELU_AUX", aux=aux[1:49].reshape(6, 8))
    odd = b[:, :6]
    assert not world.products.fused(a, odd, normal(6, 6), "GELU_AUX", aux=aux[:36].reshape(6, 6))
    assert world.lt.calls == []
    assert world.products.fused(a, b, normal(6, 8), "GELU_AUX", aux=aux[:48].reshape(6, 8))


def test_a_result_that_cannot_be_written_directly_is_no_fused_product(world):
    a, b = normal(6, 4), normal(4, 8)
    assert not world.products.fused(a, b, by_columns(6, 8), "RELU")
    assert not world.products.fused(a, b, np.empty((6, 8)), "RELU")


def test_a_problem_without_an_algorithm_goes_to_cupy_and_leaves_nothing_behind(world):
    world.lt.refuse = "error"
    a, b, out = normal(3, 4), normal(4, 5), normal(3, 5)
    close(world.products.matmul(a, b), a @ b)
    expected = out + a @ b
    world.products.product(a, b, out, accumulate=True)
    close(out, expected)
    for _ in range(3):
        world.products.matmul(a, b)
    assert len(world.fallbacks) == 5
    # description, 3 layouts and preference; it is not asked for again
    assert world.lt.destroyed == 5


def test_an_algorithm_is_chosen_once_for_each_problem(world):
    a, b = normal(3, 4), normal(4, 5)
    for _ in range(3):
        world.products.matmul(a, b)
        world.products.matmul(a.copy(), b.copy())
    assert world.lt.plans == 1
    world.products.matmul(a[:2], b)
    world.products.matmul(a, b.copy(order="F"))
    biases = normal(4, 8)[:, :5]  # each at a multiple of 32 bytes from the other
    for bias in biases:
        out = np.empty((3, 5), np.float32)
        assert world.products.fused(a, b, out, "BIAS", bias)
        close(out, a @ b + bias)
    assert world.lt.plans == 4  # another bias is no other problem
    out = a @ b
    world.products.product(a, b, out, accumulate=True)
    close(out, 2 * (a @ b))
    assert world.lt.plans == 4  # nor is adding up


def test_alignment_is_part_of_the_problem(world):
    flat = normal(64)
    start = -(flat.ctypes.data // 4) % 4
    aligned, odd = (flat[start + i : start + i + 16].reshape(4, 4) for i in (0, 1))
    world.products.matmul(aligned, aligned)
    assert world.lt.alignments[:2] == [16, 16]
    close(world.products.matmul(aligned, odd), aligned @ odd)
    assert world.lt.alignments[:2] == [4, 16]  # its first operand is our second
    assert world.lt.plans == 2
    stack = normal(3, 3, 3)  # 36 bytes from one to the next
    world.products.matmul(stack, stack)
    assert world.lt.alignments[:2] == [4, 4]


sizes = st.integers(1, 6)
views = st.sampled_from([*IN_PLACE, lambda *shape: normal(*shape[:-1], 2 * shape[-1])[..., ::2]])


@settings(max_examples=80, deadline=None)
@given(sizes, sizes, sizes, st.lists(sizes, max_size=3), st.data(), views, views)
def test_any_product(rows, inner, columns, batch, data, left, right):
    world = World()
    batches = [
        [n if data.draw(st.booleans()) else 1 for n in batch[data.draw(st.integers(0, 3)) :]]
        for _ in range(2)
    ]
    a, b = left(*batches[0], rows, inner), right(*batches[1], inner, columns)
    axes = data.draw(st.permutations(range(len(batches[0]))))
    if batches[0] == batches[1]:
        a, b = (
            np.ascontiguousarray(x.transpose(*axes, -2, -1)).transpose(*np.argsort(axes), -2, -1)
            for x in (a, b)
        )
    np.testing.assert_allclose(world.products.matmul(a, b), a @ b, rtol=1e-4, atol=1e-5)
