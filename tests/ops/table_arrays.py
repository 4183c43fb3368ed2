"""Rows of functions that reduce, reshape, index or multiply whole arrays."""

import numpy as np
from ops.table import Row, case, floats, integers, sample_cases
from scipy import special

from nnlib import ops
from nnlib.ops import indexing

REDUCTIONS = [
    case(floats(2, 3, 4)),
    case(floats(2, 3, 4), keepdims=True),
    case(floats(2, 3, 4), axis=0),
    case(floats(2, 3, 4), axis=-2, keepdims=True),
    case(floats(2, 3, 4), axis=(0, -1)),
    case(floats(2, 3, 4), axis=(-1, 0), keepdims=True),
    case(floats()),
    case(floats(0, 3), axis=1),
]
EMPTY = [case(floats(3, 0), axis=1), case(floats(0, 3)), case(floats(0, 3), axis=0, keepdims=True)]
NO_AXES = [case(floats(2, 3), axis=())]


def cumsum(x, axis=None):
    return np.cumsum(x, axis)


def pad(x, pad_width, value=0):
    return np.pad(x, pad_width, constant_values=value)


def add_at(values, key, shape):
    out = np.zeros(shape)
    np.add.at(out, key, values)
    return out


def put_along_axis(values, indices, axis, shape):
    out = np.zeros(shape)
    for place in np.ndindex(values.shape):
        target = list(place)
        target[axis] = indices[
            tuple(min(i, n - 1) for i, n in zip(place, indices.shape, strict=True))
        ]
        out[tuple(target)] += values[place]
    return out


REDUCTION = [
    Row(ops.sum, np.sum, [*REDUCTIONS, *EMPTY, *NO_AXES]),
    Row(ops.mean, np.mean, [*REDUCTIONS, *NO_AXES]),
    Row(ops.prod, np.prod, [*REDUCTIONS, *EMPTY, *NO_AXES]),
    Row(ops.max, np.max, [*REDUCTIONS, *NO_AXES], 1),
    Row(ops.min, np.min, [*REDUCTIONS, *NO_AXES], 1),
    Row(ops.logsumexp, special.logsumexp, REDUCTIONS),
    Row(ops.cumsum, cumsum, [
        *(case(floats(2, 3), axis=a) for a in (None, 0, 1, -1)), case(floats(0, 2), axis=0),
    ]),
    Row(ops.var, np.var, [*REDUCTIONS, case(floats(3, 4), axis=0, ddof=1)]),
    Row(ops.std, np.std, [*REDUCTIONS[:6], case(floats(3, 4), axis=1, ddof=1)]),
]  # fmt: skip

SHAPING = [
    Row(ops.reshape, np.reshape, [
        case(floats(2, 6), shape=(3, 4)), case(floats(2, 6), shape=(4, -1)),
        case(floats(), shape=(1, 1)), case(floats(0, 3), shape=(3, 0, 2)),
        case(floats(1), shape=()),
    ]),
    Row(ops.expand_dims, np.expand_dims, [
        case(floats(2, 3), axis=0), case(floats(2, 3), axis=-1), case(floats(2, 3), axis=(0, -1)),
        case(floats(), axis=0),
    ]),
    Row(ops.squeeze, np.squeeze, [
        case(floats(1, 3, 1)), case(floats(1, 3, 1), axis=-1), case(floats(1, 3, 1), axis=(0, 2)),
        case(floats(0, 1), axis=1),
    ]),
    Row(ops.transpose, np.transpose, [
        case(floats(2, 3, 4)), case(floats(2, 3, 4), axes=(2, 0, 1)),
        case(floats(2, 3, 4), axes=(-1, 0, -2)), case(floats()), case(floats(0, 3)),
    ]),
    Row(ops.swapaxes, np.swapaxes, [
        case(floats(2, 3, 4), axis1=0, axis2=-1), case(floats(0, 3), axis1=1, axis2=0),
    ]),
    Row(ops.moveaxis, np.moveaxis, [
        case(floats(2, 3, 4), source=0, destination=-1),
        case(floats(2, 3, 4), source=(0, 1), destination=(-1, 0)),
    ]),
    Row(ops.broadcast_to, np.broadcast_to, [
        case(floats(3), shape=(2, 3)), case(floats(2, 1), shape=(4, 2, 3)),
        case(floats(), shape=(2, 2)), case(floats(1, 3), shape=(0, 3)),
    ]),
    Row(ops.concatenate, lambda *arrays, axis=0: np.concatenate(arrays, axis), [
        case(floats(2, 3), floats(1, 3)), case(floats(2, 3), floats(2, 0), floats(2, 2), axis=-1),
        case(floats(2, 3, 1), floats(2, 3, 2), axis=2), case(floats(4)),
        case(floats(2, 3), floats(2), floats(), axis=None),
    ]),
    Row(ops.stack, lambda *arrays, axis=0: np.stack(arrays, axis), [
        case(floats(2, 3), floats(2, 3)), case(floats(2, 3), floats(2, 3), floats(2, 3), axis=-1),
        case(floats(), floats(), axis=0), case(floats(0, 2), floats(0, 2), axis=1),
    ]),
    Row(ops.pad, pad, [
        case(floats(2, 3), pad_width=((1, 0), (2, 3))),
        case(floats(2, 3), pad_width=((0, 0), (1, 1)), value=2.5),
        case(floats(0, 3), pad_width=((1, 0), (0, 0))),
        *(case(floats(2, 3), pad_width=width) for width in (1, (2,), [1, 2], ((2, 0),), ((3,),))),
        case(floats(), pad_width=1),
    ]),
    Row(ops.flip, np.flip, [
        case(floats(2, 3)), case(floats(2, 3), axis=-1), case(floats(2, 3, 2), axis=(0, 2)),
        case(floats(0, 3), axis=0), case(floats()),
    ]),
    Row(ops.roll, np.roll, [
        case(floats(2, 5), shift=2, axis=1), case(floats(2, 5), shift=-7, axis=-1),
        case(floats(2, 5), shift=[1, 2], axis=(0, 1)), case(floats(0, 5), shift=1, axis=1),
        case(floats(2, 3), shift=1, axis=None),
    ]),
    Row(ops.copy, np.copy, [case(floats(2, 3)), case(floats()), case(floats(0, 2))]),
    Row(ops.astype, lambda x, dtype: x.astype(dtype), [
        case(floats(2, 3), dtype="float64"), case(floats(), dtype="float64"),
    ]),
]  # fmt: skip

KEYS = [
    1, -1, slice(None, None, 2), slice(3, 0, -1), None, ..., (..., 1), (slice(1, 3), None, -2),
    (1, 2), [0, 2, 0], np.array([[0, 3], [3, 3]]), np.array([True, False, True, True]),
    (slice(None), np.array([True, False, True])), (np.array([0, 1, 0]), np.array([2, 2, 2])),
    (np.array([1, 1]), slice(None, 2)), (np.array([[0], [2]]), np.array([0, 1])), slice(0, 0),
    (None, [1, 1], ..., None), np.zeros((4, 3), bool), np.array([], int),
]  # fmt: skip

INDEXING = [
    Row(ops.getitem, lambda x, key: x[key], [
        *(case(floats(4, 3), key=key) for key in KEYS), case(floats(), key=()),
    ]),
    Row(ops.embedding, lambda weight, indices: weight[indices], [
        *sample_cases(ops.embedding), case(floats(4, 3), integers(4, 0)),
    ], refuses="tables that are not (V, D)"),
    Row(indexing.add_at, add_at, [
        case(floats(2, 3), key=slice(0, 4, 2), shape=(4, 3)),
        case(floats(3, 3), key=np.array([0, 2, 0]), shape=(4, 3)),
        case(floats(3), key=(np.array([0, 1, 0]), np.array([2, 2, 2])), shape=(4, 3)),
        case(floats(), key=(1, 2), shape=(4, 3)), case(floats(0, 3), key=slice(0, 0), shape=(4, 3)),
    ]),
    Row(ops.take_along_axis, np.take_along_axis, [
        case(floats(3, 4), integers(4, 3, 2), axis=1),
        case(floats(3, 4), integers(3, 2, 4), axis=0),
        case(floats(2, 3, 4), integers(4, 2, 3, 1), axis=-1),
        case(floats(5), integers(5, 7), axis=0),
        case(floats(3, 4), integers(4, 1, 2), axis=1),
        case(floats(1, 4), integers(4, 3, 2), axis=1),
        case(floats(0, 4), integers(4, 0, 2), axis=1),
    ]),
    Row(indexing._put_along_axis, put_along_axis, [
        case(floats(3, 2), integers(4, 3, 2), axis=1, shape=(3, 4)),
        case(floats(2, 4), integers(3, 2, 4), axis=0, shape=(3, 4)),
        case(floats(3, 2), integers(4, 1, 2), axis=-1, shape=(3, 4)),
    ]),
]  # fmt: skip

PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 3), (3, 0)), ((1, 2, 3), (5, 3, 4)),
]  # fmt: skip

LINALG = [
    Row(ops.matmul, np.matmul, [case(floats(*a), floats(*b)) for a, b in PRODUCTS]),
    Row(
        ops.dot, np.dot, [case(floats(*a), floats(*b)) for a, b in PRODUCTS[:4]],
        refuses="single numbers, which * multiplies",
    ),
    Row(ops.outer, np.outer, [
        case(floats(3), floats(2)), case(floats(2, 2), floats()), case(floats(0), floats(2)),
    ]),
]  # fmt: skip

ROWS = [*REDUCTION, *SHAPING, *INDEXING, *LINALG]
