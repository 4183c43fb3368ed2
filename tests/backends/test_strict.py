"""The strict backend refuses what CuPy refuses; otherwise it would prove nothing."""

import copy
import pickle

import numpy as np
import pytest
from strict_backend import StrictArray, counting
from strict_backend.names import OFFERED

from nnlib_backends import backend_of, load_backend


@pytest.fixture
def strict():
    return load_backend("strict")


@pytest.fixture
def x(strict):
    return strict.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))


HOST = np.ones((2, 3), np.float32)

REFUSED = {
    "implicit conversion": lambda xp, x: np.asarray(x),
    "conversion in a NumPy function": lambda xp, x: np.stack([HOST, x]),
    "operator with a host array": lambda xp, x: x + HOST,
    "operator with a host array on the left": lambda xp, x: HOST * x,
    "operator with a 0-d host array": lambda xp, x: x + np.array(1.0),
    "operator with a list": lambda xp, x: x + [1, 2, 3],  # noqa: RUF005
    "comparison with a host array": lambda xp, x: x < HOST,
    "in-place operator with a host array": lambda xp, x: x.__iadd__(HOST),
    "NumPy's function on both": lambda xp, x: np.add(x, HOST),
    "its own function on a host array": lambda xp, x: xp.exp(HOST),
    "host array inside a list": lambda xp, x: xp.concatenate([x, HOST]),
    "host array as out": lambda xp, x: xp.exp(x, out=np.empty((2, 3), np.float32)),
    "host array assigned": lambda xp, x: x.__setitem__(0, np.ones(3)),
    "list assigned": lambda xp, x: x.__setitem__(0, [1, 2, 3]),
    "array as a shape": lambda xp, x: xp.zeros(x[0, 1]),
    "array as a bound of a range": lambda xp, x: range(x[0, 1]),
    "array as a bound of a slice": lambda xp, x: x[: x[0, 1].astype("int64")],
    "list where an array must be": lambda xp, x: xp.sum([1, 2, 3]),
    "where= of a ufunc": lambda xp, x: xp.log(x, where=x > 0),
    "initial= of a reduction": lambda xp, x: x.max(initial=0),
    "min= of clip": lambda xp, x: xp.clip(x, min=0),
    "text": lambda xp, x: xp.asarray(["a"]),
    "objects": lambda xp, x: xp.asarray([None]),
}


@pytest.mark.parametrize("attempt", REFUSED.values(), ids=REFUSED)
def test_raises_type_error_for(attempt, strict, x):
    with pytest.raises(TypeError):
        attempt(strict.xp, x)


def test_scalars_of_python_and_numpy_are_welcome(x):
    assert type(2 * x) is StrictArray
    assert type(np.float32(2) * x) is StrictArray
    assert type(x ** np.float64(2)) is StrictArray
    assert (x + 1.0).dtype == np.float32
    assert (x + np.float64(1)).dtype == np.float64


def test_nothing_becomes_a_number_by_itself(strict, x):
    xp = strict.xp
    results = [x.sum(), x[0, 1], x.max(), xp.sum(x), xp.dot(x[0], x[0]), x[0] @ x[1], -x[0, 0]]
    results += [xp.allclose(x, x), xp.count_nonzero(x), xp.linalg.norm(x), np.mean(x), *x[0]]
    for result in results:
        assert type(result) is StrictArray
        assert result.shape == ()


def test_an_element_is_a_view_as_in_cupy(x):
    element = x[1, 2]
    x[1, 2] = 7.0
    assert element.item() == 7.0


def test_numpy_functions_arrive_on_the_device(strict, x):
    for result in (np.exp(x), np.sum(x, axis=0), np.linalg.norm(x), np.add.outer(x, x)):
        assert type(result) is StrictArray
    out = strict.xp.empty((2, 3), dtype="float32")
    assert np.exp(x, out=out) is out


def test_names_that_cupy_lacks_are_missing(strict):
    for name in ("geomspace", "errstate", "vecdot", "insert", "longdouble", "nditer"):
        assert not hasattr(strict.xp, name), name
    assert not hasattr(strict.xp.linalg, "multi_dot")
    assert strict.xp.float32 is np.float32
    assert strict.xp.newaxis is None


def test_ufunc_methods_that_cupy_lacks_are_missing(strict, x):
    xp = strict.xp
    for attempt in (
        lambda: xp.maximum.reduce(x),
        lambda: xp.multiply.at(x, 0, 2.0),
        lambda: xp.multiply.reduceat(x, xp.zeros(1, dtype="int64")),
    ):
        with pytest.raises(NotImplementedError):
            attempt()
    with pytest.raises(TypeError, match="only supports"):
        xp.add.at(xp.zeros(3, dtype="int8"), 0, 1)


def test_add_at_adds_repeated_indices(strict):
    xp = strict.xp
    a = xp.zeros(3, dtype="float32")
    xp.add.at(a, xp.asarray([0, 0, 2]), xp.ones(3, dtype="float32"))
    assert a.tolist() == [2, 0, 1]


def test_flags_are_cupys(x):
    assert x.flags.c_contiguous
    assert not hasattr(x.flags, "writeable")
    with pytest.raises(TypeError):
        hash(x)


READS = {
    "float": float,
    "int": lambda x: int(x[0, 0]),
    "bool": lambda x: bool(x[0, 0] > 1),
    "if": lambda x: 1 if x.sum() > 3 else 2,
    "item": lambda x: x[0, 0].item(),
    "tolist": lambda x: x.tolist(),
    "get": lambda x: x.get(),
    "print": str,
    "format": lambda x: f"{x.sum():.3f}",
    "mask": lambda x: x[x > 1],
    "assignment to a mask": lambda x: x.__setitem__(x > 1, 0.0),
    "nonzero": lambda x: x.nonzero(),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_read_by_the_host_is_counted(read, x):
    value = x[0, 0] if read is float else x
    with counting() as counts:
        read(value)
    assert (counts.reads, counts.transfers) == (1, 0)
    assert all(__file__ in line or "backend.py" in line for line in counts.where)


TRANSFERS = {
    "asarray": lambda b, x: b.asarray(HOST),
    "xp.asarray": lambda b, x: b.xp.asarray(HOST),
    "xp.array of a list": lambda b, x: b.xp.array([1.0, 2.0]),
    "index of a list": lambda b, x: x[[0, 1]],
    "index of a host array": lambda b, x: x[np.array([0, 1])],
    "take of a host array": lambda b, x: b.xp.take(x, np.array([0, 1]), axis=0),
}


@pytest.mark.parametrize("transfer", TRANSFERS.values(), ids=TRANSFERS)
def test_transfer_from_the_host_is_counted(transfer, strict, x):
    with counting() as counts:
        transfer(strict, x)
    assert (counts.reads, counts.transfers) == (0, 1)


def test_computing_neither_reads_nor_transfers(strict, x):
    xp = strict.xp
    with counting() as counts:
        y = xp.where(x > 1, xp.exp(-x), 0) @ xp.ones((3, 4), dtype="float32")
        y -= y.max(axis=1, keepdims=True)
        y[xp.arange(2), xp.zeros(2, dtype="int64")] += 1
        copy.deepcopy(y).reshape(-1).fill(2)
        strict.asarray(xp.full((2, 2), 3.0), dtype="float32")
        xp.einsum("ij,kj->ik", x, x).sum()
        len(x), x.shape, x.dtype
    assert (counts.reads, counts.transfers) == (0, 0), counts.where


def test_counting_can_be_nested(x):
    with counting() as outer:
        float(x[0, 0])
        with counting() as inner:
            float(x[0, 0])
    assert (outer.reads, inner.reads) == (2, 1)


def test_host_memory_is_never_shared(strict):
    host = np.zeros(3)
    for array in (strict.asarray(host), strict.xp.asarray(host), strict.xp.array(host, copy=None)):
        array += 1
        array.get()[...] = 5
        assert array.tolist() == [1, 1, 1]
    assert host.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="without a copy"):
        strict.asarray(host, copy=False)


def test_array_finds_its_backend(strict, x):
    assert backend_of(x) is strict
    assert strict.asarray(x) is x
    assert load_backend("numpy").asarray(x).tolist() == x.tolist()
    assert pickle.loads(pickle.dumps(x)).tolist() == x.tolist()


def test_the_list_of_names_is_cupys():
    assert OFFERED["sum"] == ("function", frozenset({"a", "axis", "dtype", "out", "keepdims"}))
    assert OFFERED["exp"][0] == "ufunc"
    assert OFFERED[".max"][1] == {"axis", "out", "keepdims"}
    assert "geomspace" not in OFFERED
    assert len(OFFERED) > 400


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"array as a shape"}))
def test_cupy_refuses_it_too(name):  # but for shapes, where CuPy may read the array instead
    attempt = REFUSED[name]
    cupy = load_backend("cupy")
    x = cupy.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    with pytest.raises((TypeError, ValueError, AttributeError)):
        attempt(cupy.xp, x)


@pytest.mark.gpu
def test_cupy_has_every_name_of_the_list():
    xp = load_backend("cupy").xp
    for name, (kind, _) in OFFERED.items():
        owner = xp.ndarray if kind == "method" else xp
        for part in name.lstrip(".").split("."):
            owner = getattr(owner, part)
