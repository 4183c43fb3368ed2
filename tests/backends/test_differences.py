"""The list of CuPy's differences is complete, and the strict backend shows what it says."""

import ast
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from strict_backend import counting
from strict_backend.differences import DEVICE, FUNCTIONS, METHODS, OPERATORS
from strict_backend.kernels import capturing
from strict_backend.names import OFFERED
from strict_backend.namespace import NAMESPACE

import nnlib
import nnlib_backends

PACKAGES = [Path(nnlib.__file__).parent, Path(nnlib_backends.__file__).parent]
#: Of other objects in nnlib: cuBLASLt's, JSON, text, arrays that never leave the host.
NOT_OF_ARRAYS = {"choose", "dumps", "partition", "searchsorted", "trace"}
PROPERTIES = {"T", "base", "data", "device", "dtype", "flags", "imag", "itemsize", "nbytes", "ndim"}
PROPERTIES |= {"real", "shape", "size", "strides", "view"}
BY_STRING = {"_make"}  # calls that name a function of the namespace in their first argument


def used_names():
    """Return names of the namespace, of CuPy's module, and of arrays, each with a place."""
    functions, modules, methods = {}, {}, {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            if "numpy_backend" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf8"))):
                place = f"{path.name}:{getattr(node, 'lineno', 0)}"
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in BY_STRING:
                    functions[node.args[0].value] = place
                if not isinstance(node, ast.Attribute):
                    continue
                parts = dotted(node)
                owner = next((i for i, part in enumerate(parts) if part in {"xp", "_xp"}), None)
                if owner is not None and owner + 1 < len(parts):
                    functions[".".join(parts[owner + 1 :])] = place
                elif parts[0] in {"cupy", "_cupy"}:
                    modules[".".join(parts[1:])] = place
                elif f".{node.attr}" in OFFERED or node.attr in PROPERTIES:
                    methods[node.attr] = place
    return functions, modules, methods


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return parts[::-1]


def unknown(found, *lists):
    """Leave out what is listed, what leads to something listed, and dtypes."""
    known = {name for names in lists for name in names}
    known |= {name.rpartition(".")[0] for name in known}
    known |= {name for name, (kind, _) in OFFERED.items() if kind in {"type", "constant"}}
    known |= {"cuda.runtime", "cuda.cublas", "cuda.device", "cuda", "__version__"}
    return {name: place for name, place in found.items() if name not in known}


def test_every_name_that_nnlib_calls_is_listed():
    functions, modules, methods = used_names()
    assert len(functions) > 90
    assert len(methods) > 30
    assert unknown(functions, FUNCTIONS) == {}
    assert unknown(modules, FUNCTIONS, DEVICE) == {}
    assert unknown(methods, METHODS, NOT_OF_ARRAYS) == {}


def test_no_name_is_listed_that_cupy_lacks():
    beyond = {"add.at", "erf", "ndtr", "sliding_window_view", "may_share_memory"}
    assert FUNCTIONS.keys() - OFFERED.keys() <= beyond
    assert {f".{name}" for name in METHODS} - OFFERED.keys() <= {f".{p}" for p in PROPERTIES}


def test_sources_are_named():
    for row in (*FUNCTIONS.values(), *METHODS.values(), *OPERATORS.values()):
        file, _, function = row.source.partition(":")
        assert file.endswith((".py", ".pyx")), row
        assert function, row


# What is shown ---------------------------------------------------------------------------------


def array(xp, values, dtype="float32"):
    return xp.asarray(np.asarray(values, "float64").astype(dtype))


def low(xp, values=(1.0, 2.0)):
    return array(xp, values, pytest.importorskip("ml_dtypes").bfloat16)


def raises(errors, function, *args, **options):
    with pytest.raises(errors):
        function(*args, **options)
    return True


REFUSALS = (TypeError, ValueError, AttributeError)
EPS = 2.0**-10  # of float16


def rounds_products(xp, function):
    a, b = (array(xp, [1 + 3 * EPS, sign], "float16") for sign in (1, -1))
    return function(a, b) == 6 * EPS


VALUES = {
    "add.at": lambda xp: raises(TypeError, xp.add.at, low(xp), array(xp, [0, 0], "int64"), low(xp)),
    "argsort": lambda xp: raises(NotImplementedError, xp.argsort, low(xp)),
    "ascontiguousarray": lambda xp: raises(REFUSALS, xp.ascontiguousarray, np.ones(2)),
    "clip": lambda xp: (
        xp.clip(low(xp), 0, 1).dtype == "float32"
        and xp.clip(array(xp, [5.0]), np.float32("nan"), np.float32(9))[0] == 5
        and raises(TypeError, xp.clip, low(xp), None, 1)
    ),
    "copy": lambda xp: raises(REFUSALS, xp.copy, [1.0]),
    "dot": lambda xp: rounds_products(xp, xp.dot),
    "erf": lambda xp: (
        xp.erf(array(xp, [1.0], "float16")).dtype == "float64"
        and xp.erf(low(xp)).dtype == "float32"
    ),
    "floor_divide": lambda xp: xp.floor_divide(array(xp, [1.0], "float64"), 0.1)[0] == 10,
    "matmul": lambda xp: raises(
        Exception, xp.matmul, low(xp, np.ones((2, 2, 2))), low(xp, np.ones((2, 2, 2)))
    ),
    "max": lambda xp: raises(TypeError, xp.max, low(xp), initial=0),
    "min": lambda xp: raises(TypeError, xp.min, low(xp), initial=0),
    "ndarray": lambda xp: raises(TypeError, np.asarray, low(xp)),
    "ndtr": lambda xp: (
        xp.ndtr(array(xp, [1.0], "float16")).dtype == "float64"
        and xp.ndtr(low(xp)).dtype == "float32"
    ),
    "power": lambda xp: xp.power(array(xp, [2, -1], "int64"), -1).tolist() == [0, -1],
    "prod": lambda xp: raises(TypeError, xp.prod, low(xp), initial=0),
    "remainder": lambda xp: (
        xp.remainder(array(xp, [1.0], "float64"), 0.1)[0] == 0
        and xp.isnan(xp.remainder(array(xp, [1.0]), np.float32("inf")))[0]
    ),
    "round": lambda xp: xp.round(low(xp)).dtype == "float32",
    "sliding_window_view": lambda xp: writes_through(xp),
    "sort": lambda xp: raises(NotImplementedError, xp.sort, low(xp)),
    "sum": lambda xp: raises(TypeError, xp.sum, low(xp), initial=0),
    "take": lambda xp: xp.take(array(xp, [1, 2, 3]), array(xp, [5], "int64"))[0] == 3,
    "take_along_axis": lambda xp: (
        xp.take_along_axis(array(xp, [1, 2, 3]), array(xp, [-4], "int64"), axis=0)[0] == 3
    ),
    "vdot": lambda xp: rounds_products(xp, xp.vdot),
    "where": lambda xp: (
        xp.where(low(xp) > 1, low(xp), low(xp)).dtype == "float32"
        and raises(REFUSALS, xp.where, True, low(xp), low(xp))
    ),
    ".astype": lambda xp: (
        array(xp, [3e9, -3e9, np.nan]).astype("int32").tolist() == [2**31 - 1, -(2**31), 0]
    ),
    ".data": lambda xp: isinstance(low(xp).data.ptr, int),
    ".device": lambda xp: low(xp).device.id == 0,
    ".flags": lambda xp: not hasattr(low(xp).flags, "writeable"),
    "arithmetic": lambda xp: (
        (array(xp, np.ones((2, 3))).T + 1).flags.c_contiguous and warns_not(lambda: low(xp) / 0)
    ),
    "**": lambda xp: (low(xp) ** 0.5).dtype == "float64",
    "x[i]": lambda xp: array(xp, [1, 2, 3])[array(xp, [5], "int64")][0] == 3,
}


def warns_not(function):
    with warnings.catch_warnings(action="error"):
        function()
    return True


def writes_through(xp):
    x = array(xp, [1, 2, 3])
    xp.sliding_window_view(x, 2)[0, 0] = 7
    return x[0] == 7


#: What makes the host wait, or copies to the device: how often.
COUNTED = {
    "array": (0, 1, lambda xp, x: xp.array([1.0])),
    "asarray": (0, 1, lambda xp, x: xp.asarray(np.ones(2))),
    "concatenate": (0, 1, lambda xp, x: xp.concatenate([x] * 9)),
    "stack": (0, 1, lambda xp, x: xp.stack([x] * 9)),
    "flatnonzero": (1, 0, lambda xp, x: xp.flatnonzero(x)),
    "where": (1, 0, lambda xp, x: xp.where(x)),
    ".item": (1, 0, lambda xp, x: x[0].item()),
    ".tobytes": (1, 0, lambda xp, x: x.tobytes()),
    ".tolist": (1, 0, lambda xp, x: x.tolist()),
    "x[i]": (1, 0, lambda xp, x: x[x > 1]),
    "float, int, bool, str": (1, 0, lambda xp, x: float(x[0])),
}
ALONE = {"x[i] = y"}  # has a test of its own below


def test_every_difference_that_is_shown_has_an_example():
    rows = {**FUNCTIONS, **{f".{name}": row for name, row in METHODS.items()}, **OPERATORS}
    examples = VALUES.keys() | COUNTED.keys() | ALONE
    examples |= {f".{name}" for name in examples} | {"@"}  # methods that are functions, too
    shown = {name for name, row in rows.items() if row.differs and row.shown}
    assert shown - examples == set()
    assert (VALUES.keys() | COUNTED.keys() | ALONE) - shown == set()


@pytest.fixture(params=["strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def raw(request):
    """The namespace as it is, before the CuPy backend mends it."""
    if request.param == "strict":
        return NAMESPACE
    cupy = pytest.importorskip("cupy")
    from cupy.lib.stride_tricks import sliding_window_view
    from cupyx.scipy import special

    own = {"erf": special.erf, "ndtr": special.ndtr, "sliding_window_view": sliding_window_view}
    return types.SimpleNamespace(**vars(cupy) | own)


@pytest.mark.parametrize("name", VALUES)
def test_differs_as_listed(name, raw):
    assert VALUES[name](raw)


@pytest.mark.parametrize("name", COUNTED)
def test_host_and_device_meet_as_listed(name):
    reads, transfers, call = COUNTED[name]
    x = array(NAMESPACE, [1.0, 2.0])
    with counting() as counts:
        call(NAMESPACE, x)
    assert (counts.reads, counts.transfers) == (reads, transfers), counts.where
    with capturing(), pytest.raises(RuntimeError, match="is capturing"):
        call(NAMESPACE, x)


def test_few_arrays_are_joined_without_a_table():
    x = array(NAMESPACE, np.ones(3))
    with counting() as counts:
        NAMESPACE.concatenate([x] * 8)
        NAMESPACE.stack([x] * 8, axis=-1)
        NAMESPACE.concatenate([x] * 8 + [x.astype("float64")])
    assert counts.transfers == 0


def test_atomic_additions_come_in_another_order_each_time():
    values = array(NAMESPACE, 10.0 ** np.linspace(-6, 6, 100))
    places = array(NAMESPACE, np.zeros(100), "int64")
    sums = set()
    for _ in range(5):
        total = NAMESPACE.zeros(1, dtype="float32")
        NAMESPACE.add.at(total, places, values)
        sums.add(total.item())
    assert len(sums) > 1


def test_what_is_left_open_is_refused():
    x, twice = array(NAMESPACE, [1, 2, 3]), array(NAMESPACE, [0, 0], "int64")
    with pytest.raises(RuntimeError, match="undefined which"):
        x[twice] = array(NAMESPACE, [4, 5])
    x[twice] = array(NAMESPACE, [4, 4])
    x[twice] += 1
    x[array(NAMESPACE, [1, 2], "int64")] = array(NAMESPACE, [6, 7])
    assert x.tolist() == [5, 6, 7]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64", "bool"])
def test_other_dtypes_come_out_as_numpys(dtype):
    x = np.asarray([1, 0, 3]).astype(dtype)
    for name in ("add", "multiply", "maximum", "sqrt", "exp", "divide", "less", "isfinite", "sign"):
        function = getattr(np, name)
        if name == "sign" and dtype == "bool":
            continue
        args = [x] * function.nin
        ours = getattr(NAMESPACE, name)(*[NAMESPACE.asarray(a) for a in args])
        with np.errstate(all="ignore"):
            theirs = function(*args)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours.get(), theirs)
