"""Every operation on shapes and memory at the edge, made from the samples of the table.

Nothing, one number, one place along an axis, seven axes; strided, reversed, transposed, repeated,
read-only and byte-swapped arrays.  An operation computes what its reference computes, or refuses
with an error of nnlib's own: where the reference fails, too, or where its row says so.
"""

import warnings

import numpy as np
import pytest
from ops.edges import edges, layouts
from ops.table import Values, table

import nnlib
from nnlib.errors import DTypeError
from nnlib.ops import indexing
from nnlib_backends import load_backend
from nnlib_backends.numpy_backend import kernel_choice

#: Adjoints and masks, which only derivatives ask for, with shapes that fit.
INTERNAL = (indexing.add_at, indexing._put_along_axis, nnlib.ops.fold_patches)
ROWS = [row for row in table() if row.function not in (*INTERNAL, nnlib.ops.dropout_factor)]

FEW = [pytest.param(row, row.cases[:1], id=row.name) for row in ROWS]
ALL = [pytest.param(row, row.cases[1:], id=row.name, marks=pytest.mark.slow) for row in ROWS]

#: Where to compute: with compiled kernels, with NumPy's alone, as on a GPU, by definitions.
PLACES = [
    ("numpy", "float32"),
    ("strict", "float64"),
    *(
        pytest.param((*more, "float64"), marks=pytest.mark.slow)
        for more in (("numpy",), ("definition",))
    ),
    pytest.param(("general", "float32"), marks=pytest.mark.slow),
]


@pytest.fixture(params=PLACES, ids="-".join)
def place(request, monkeypatch):
    """A backend and a dtype."""
    name, dtype = request.param
    backend = load_backend(name if name in ("numpy", "strict") else "numpy")
    if name == "general":
        monkeypatch.setattr(backend, "kernels", kernel_choice.general_kernels())
        monkeypatch.setattr(backend, "primitives", {})
    if name == "definition":
        monkeypatch.setattr(backend, "kernels", {})
    return backend, dtype


def drawn(one, dtype):
    return [
        x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
        for x in one.draw()
    ]


def run(row, arrays, options, backend):
    """Return the result and all gradients, zeros for an argument that has no part in it."""
    inputs = [
        nnlib.tensor(x, requires_grad=x.dtype.kind == "f", backend=backend)
        if isinstance(x, np.ndarray) else x
        for x in arrays
    ]  # fmt: skip
    y = row.function(*inputs, **options)
    found = [y.numpy()]
    if y.requires_grad:
        g = np.cos(np.arange(y.size) * 1.7).reshape(y.shape)
        y.backward(nnlib.tensor(g, dtype=y.dtype, backend=backend))
        leaves = (x for x in inputs if isinstance(x, nnlib.Tensor) and x.requires_grad)
        found += [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in leaves]
    return found


def reference(row, one):
    """Return what is right, or the class of the reference's error."""
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            return np.asarray(row.reference(*one.draw(), **one.options))
    except Exception as error:  # noqa: BLE001 - the operation may raise the same
        return type(error)


def check(row, one, backend, dtype):
    """Compare with the reference; without one, the operation has to refuse or be in order."""
    right = reference(row, one)
    failed = isinstance(right, type)
    # an error of the reference's class, too: an IndexError, as of NumPy
    expected = (nnlib.NnlibError, right) if failed else nnlib.NnlibError
    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            value, *gradients = run(row, drawn(one, dtype), one.options, backend)
    except expected:
        assert failed or row.refuses
        return
    for gradient in gradients:
        assert value.size or not gradient.any()
    if not failed and right.shape == value.shape:
        tolerance = 1e-4 if dtype == "float32" else 1e-10
        np.testing.assert_allclose(value, right, rtol=tolerance, atol=tolerance)
    else:
        assert failed or row.function is nnlib.logsumexp  # SciPy's keeps an axis of one number


@pytest.mark.parametrize(("row", "cases"), [*FEW, *ALL])
def test_shapes_at_the_edge(row, cases, place):
    for one in cases:
        for name, edge in edges(one):
            try:
                check(row, edge, *place)
            except AssertionError as error:
                raise AssertionError(f"{row.name}, {name}: {edge.inputs} {edge.options}") from error


@pytest.mark.parametrize(("row", "cases"), [*FEW, *ALL])
def test_memory_at_the_edge(row, cases, place):
    backend, dtype = place
    for one in cases:
        arrays = drawn(one, dtype)
        expected = run(row, arrays, one.options, backend)
        names = sorted({n for x in arrays if isinstance(x, np.ndarray) for n in layouts(x)})
        for name in names:
            laid = [layouts(x).get(name, x) if isinstance(x, np.ndarray) else x for x in arrays]
            compare(run(row, laid, one.options, backend), expected, dtype, name)
        # one row in memory that stands for all
        once = [x if isinstance(v, Values) and v.kind == "integer" else one_row(x)
                for v, x in zip(one.inputs, arrays, strict=True)]  # fmt: skip
        copied = [x.copy() if isinstance(x, np.ndarray) else x for x in once]
        expected = run(row, copied, one.options, backend)
        compare(run(row, once, one.options, backend), expected, dtype, "repeated")


def one_row(x):
    many = isinstance(x, np.ndarray) and x.ndim and len(x)
    return np.broadcast_to(x[:1], x.shape) if many else x


def compare(found, expected, dtype, name):
    tolerance = 2e-5 if dtype == "float32" else 1e-11
    for ours, right in zip(found, expected, strict=True):
        assert ours.dtype == right.dtype, name
        assert ours.dtype.isnative, name
        np.testing.assert_allclose(ours, right, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_compiled_at_the_edge(row):
    """A recording gives the bits of what it recorded."""
    backend = load_backend("numpy")
    for name, edge in edges(row.cases[0]):
        if name.startswith("1 for") or edge.options.get("dtype"):
            continue
        arrays = drawn(edge, "float32")
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            try:
                (expected, *_) = run(row, arrays, edge.options, backend)
            except Exception:  # noqa: BLE001 - refused, which the other tests look at
                continue
            places = [i for i, x in enumerate(arrays) if isinstance(x, np.ndarray)]

            @nnlib.compile
            def function(*given, arrays=arrays, places=places, edge=edge):
                every = [given[places.index(i)] if i in places else x for i, x in enumerate(arrays)]
                return row.function(*every, **edge.options)

            for _ in range(4):
                y = function(*[nnlib.tensor(arrays[i], backend=backend) for i in places])
            np.testing.assert_array_equal(y.numpy(), expected, err_msg=name)


def test_integers_of_every_size_give_what_long_ones_give(backend):
    """Fractions of short integers are float32, and nothing overflows on the way to them."""
    for row in ROWS:
        for one in row.cases[:2]:
            for dtype in ("bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "uint64"):
                short, long = (as_integers(one, backend, dtype, d) for d in (dtype, "int64"))
                right = outcome(row, long, one.options)
                found = outcome(row, short, one.options)
                if isinstance(found, DTypeError) and dtype == "bool":
                    continue  # as of NumPy: no minus and no sign of truth values
                if isinstance(right, Exception) or isinstance(found, Exception):
                    assert type(found) is type(right), (row.name, dtype, found)
                elif right.dtype.kind == "f":
                    wanted = one.options.get("dtype", "float32")
                    assert found.dtype == right.dtype == wanted, (row.name, dtype)
                    message = f"{row.name} {dtype}"
                    np.testing.assert_allclose(found.numpy(), right.numpy(), 1e-4, 1e-4, message)
                else:
                    assert found.dtype.kind in "biu"


def as_integers(one, backend, limit, dtype):
    """Draw floats as integers up to 108, or truth values."""
    made = []
    for x in one.draw():
        if isinstance(x, np.ndarray):
            if x.dtype.kind == "f":
                x = x > 0 if limit == "bool" else np.abs(np.rint(x * 60))
                x = np.asarray(x).astype(dtype)
            x = nnlib.tensor(x, backend=backend)
        made.append(x)
    return made


def outcome(row, inputs, options):
    with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
        try:
            return row.function(*inputs, **options)
        except nnlib.NnlibError as error:
            return error


LOW = [("float16", 2.0**-10), ("bfloat16", 2.0**-7)]


@pytest.mark.parametrize("scale", [1, 300])
@pytest.mark.parametrize(("dtype", "precision"), LOW)
def test_16_bits_are_float32_rounded_at_the_end(dtype, precision, scale, backend):
    """Value and gradient, as far as float32's are in the range of the dtype."""
    low = np.dtype(getattr(pytest.importorskip("ml_dtypes"), dtype, dtype))
    for row in ROWS:
        for one in row.cases[:2]:
            arrays = [
                np.asarray(x * scale).astype(low)
                if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
                for x in one.draw()
            ]  # fmt: skip
            with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
                found, right = (
                    in_dtype(row, arrays, one.options, backend, low, wide) for wide in (False, True)
                )
            for ours, theirs in zip(found, right, strict=True):
                with np.errstate(over="ignore"):
                    rounded = theirs.astype(low).astype("float64")
                inside = np.isfinite(rounded)
                limit = 3 * precision * max(np.abs(rounded[inside]).max(initial=0.0), 1e-3)
                assert (np.abs(ours[inside] - rounded[inside]) <= limit).all(), row.name


def in_dtype(row, arrays, options, backend, low, wide):
    """Return value and gradients of 16-bit arrays, computed as they are or as float32."""
    inputs = []
    for x in arrays:
        if isinstance(x, np.ndarray):
            x = nnlib.tensor(x.astype("float32") if wide and x.dtype == low else x, backend=backend)
            x.requires_grad = x.dtype.kind not in "biu"
        inputs.append(x)
    y = row.function(*inputs, **options)
    found = [y]
    if y.requires_grad:
        g = np.cos(np.arange(y.size) * 1.7).reshape(y.shape).astype(low).astype(y.dtype)
        y.backward(nnlib.tensor(g, backend=backend))
        found += [x.grad for x in inputs if isinstance(x, nnlib.Tensor) and x.grad is not None]
    return [x.numpy().astype("float64") for x in found]
