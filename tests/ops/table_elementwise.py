"""Rows of functions that work value by value, or along one axis."""

import numpy as np
from ops.table import Row, booleans, case, floats, integers, positive, sample_cases
from scipy import special

from nnlib import ops

SHAPES = [(3, 4), (), (0, 3), (2, 1, 3)]
PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((2, 1, 3), (4, 1)),
    ((), (3,)),
    ((0, 3), (3,)),
    ((), ()),
]


def unary(function, reference, draw=floats, derivatives=2, **options):
    cases = [case(draw(*shape), **options) for shape in SHAPES]
    return Row(function, reference, cases, derivatives)


def binary(function, reference, first=floats, second=floats, derivatives=2):
    cases = [case(first(*a), second(*b)) for a, b in PAIRS]
    cases += [case(first(3, 2), 1.5), case(1.5, second(3, 2))]  # Python numbers
    return Row(function, reference, cases, derivatives)


def comparison(function, reference):
    cases = [case(integers(3, *a), integers(3, *b)) for a, b in PAIRS]
    return Row(function, reference, [*cases, case(floats(3, 2), 0.5)], 0)


def gelu(x, approximate="none"):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x))


def selu(x):
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def clip(x, min=None, max=None):
    return x if min is max is None else np.clip(x, min, max)


ARITHMETIC = [
    binary(ops.add, np.add),
    binary(ops.subtract, np.subtract),
    binary(ops.multiply, np.multiply),
    binary(ops.divide, np.divide, second=positive),
    binary(ops.power, np.power, first=positive),
    binary(ops.maximum, np.maximum, derivatives=1),
    binary(ops.minimum, np.minimum, derivatives=1),
    unary(ops.negative, np.negative),
    unary(ops.square, np.square),
    unary(ops.sqrt, np.sqrt, positive),
    unary(ops.abs, np.abs, derivatives=1),
    unary(ops.sign, np.sign, derivatives=0),
]

ROUNDING = [
    *(unary(function, reference, derivatives=0) for function, reference in (
        (ops.floor, np.floor), (ops.ceil, np.ceil), (ops.trunc, np.trunc), (ops.round, np.round),
    )),
    Row(ops.round, np.round, [case(floats(3, 4), decimals=1), case(floats(), decimals=0)], 0),
    binary(ops.floor_divide, np.floor_divide, derivatives=0),
    binary(ops.remainder, np.remainder, derivatives=1),
    binary(ops.fmod, np.fmod, derivatives=1),
]  # fmt: skip

EXPLOG = [
    unary(ops.exp, np.exp),
    unary(ops.expm1, np.expm1),
    unary(ops.log, np.log, positive),
    unary(ops.log1p, np.log1p, positive),
    unary(ops.erf, special.erf),
    unary(ops.ndtr, special.ndtr),
    binary(ops.logaddexp, np.logaddexp),
    unary(ops.tanh, np.tanh),
    unary(ops.sinh, np.sinh),
    unary(ops.cosh, np.cosh),
    unary(ops.sin, np.sin),
    unary(ops.cos, np.cos),
]

COMPARISON = [
    comparison(ops.equal, np.equal),
    comparison(ops.not_equal, np.not_equal),
    comparison(ops.less, np.less),
    comparison(ops.less_equal, np.less_equal),
    comparison(ops.greater, np.greater),
    comparison(ops.greater_equal, np.greater_equal),
    *(
        Row(
            operation,
            reference,
            [case(integers(9, *a), integers(9, *b)) for a, b in PAIRS]
            + [case(booleans(3, 4), booleans(4)), case(integers(9, 3), 5)],
            0,
        )
        for operation, reference in (
            (ops.bitwise_and, np.bitwise_and),
            (ops.bitwise_or, np.bitwise_or),
        )
    ),
    Row(ops.invert, np.invert, [case(booleans(2, 3)), case(integers(9, 4)), case(booleans())], 0),
    comparison(ops.logical_and, np.logical_and),
    comparison(ops.logical_or, np.logical_or),
    Row(ops.logical_not, np.logical_not, [case(booleans(2, 3)), case(integers(2, 4))], 0),
    *(
        Row(
            operation,
            reference,
            [case(integers(2, 3, 4), axis=a) for a in (None, 0, -1, (0, 1))]
            + [case(booleans(3, 4), axis=1, keepdims=True), case(booleans(0, 2))],
            0,
        )
        for operation, reference in ((ops.any, np.any), (ops.all, np.all))
    ),
    unary(ops.isfinite, np.isfinite, derivatives=0),
    unary(ops.isnan, np.isnan, derivatives=0),
    *(
        Row(
            operation,
            reference,
            [case(floats(3, 4), axis=a, keepdims=k) for a in (None, 0, -1) for k in (False, True)],
            0,
        )
        for operation, reference in ((ops.argmax, np.argmax), (ops.argmin, np.argmin))
    ),
    Row(
        ops.where,
        np.where,
        [
            case(booleans(3, 4), floats(3, 4), floats(3, 4)),
            case(booleans(3, 1), floats(4), floats(2, 1, 1)),
            case(booleans(3, 4), floats(3, 4), 0.5),
            case(booleans(3, 4), 0.5, floats(3, 4)),
            case(booleans(), floats(2), floats()),
            case(booleans(0, 2), floats(2), floats(0, 2)),
        ],
    ),
    Row(
        ops.clip,
        clip,
        [
            case(floats(3, 4), min=-0.5, max=0.9),
            case(floats(3, 4), min=-0.5),
            case(floats(), max=0.5),
            case(floats(0, 2), min=0.0),
            case(floats(3)),
            case(floats(3, 4), floats(4), positive(3, 1)),
            case(floats(3, 4), None, floats(4)),
            case(floats(4), floats(3, 1), 0.9),
        ],
        1,
    ),
]

ACTIVATION = [
    unary(ops.relu, lambda x: np.maximum(x, 0), derivatives=1),
    unary(ops.sigmoid, special.expit),
    unary(ops.softplus, lambda x, beta: np.logaddexp(0, beta * x) / beta, beta=1.0),
    unary(ops.softplus, lambda x, beta: np.logaddexp(0, beta * x) / beta, beta=2.5),
    unary(
        ops.leaky_relu,
        lambda x, negative_slope: np.where(x > 0, x, x * negative_slope),
        derivatives=1,
        negative_slope=0.2,
    ),
    unary(ops.elu, elu, alpha=0.7),
    unary(ops.selu, selu),
    Row(ops.gelu, gelu, [*sample_cases(ops.gelu), *unary(ops.gelu, gelu).cases]),
    unary(ops.silu, lambda x: x * special.expit(x)),
    unary(ops.mish, lambda x: x * np.tanh(np.logaddexp(0, x))),
    unary(
        ops.hardtanh,
        lambda x, min_val, max_val: np.clip(x, min_val, max_val),
        derivatives=1,
        min_val=-0.7,
        max_val=1.1,
    ),
    unary(ops.softsign, lambda x: x / (1 + np.abs(x))),
    unary(ops.logsigmoid, lambda x: -np.logaddexp(0, -x)),
    unary(ops.relu6, lambda x: np.clip(x, 0, 6), derivatives=1),
    unary(ops.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6, derivatives=1),
    unary(ops.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    *(
        Row(function, reference, [
            case(floats(3, 4), axis=-1), case(floats(3, 4), axis=0),
            case(floats(2, 3, 2), axis=1), case(floats(0, 3), axis=-1), case(floats(5), axis=0),
        ])
        for function, reference in [
            (ops.softmax, special.softmax), (ops.log_softmax, special.log_softmax),
        ]
    ),
]  # fmt: skip

ROWS = [*ARITHMETIC, *ROUNDING, *EXPLOG, *COMPARISON, *ACTIVATION]
