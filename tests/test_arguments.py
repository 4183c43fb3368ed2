"""Calls that do not fit: every public function says which argument, and what it takes."""

import contextlib
import inspect
import re

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.arguments import OTHER_NAMES, explain, explained, unknown_keyword
from nnlib.errors import ArgumentError, DTypeError, IndexingError, NnlibError, ShapeError
from nnlib.nn import functional as F

T = nnlib.tensor([[1.0, 2.0], [3.0, 4.0]])
NOT_CALLED = {
    "autocast", "available_backends", "backend_info", "compile", "draw_graph", "enable_grad",
    "get_backend", "grad", "gradcheck", "graph_dot", "is_grad_enabled", "load", "manual_seed",
    "memory_summary", "no_grad", "save", "set_backend", "summary", "use_backend", "value_and_grad",
}  # fmt: skip
MODULES = {
    f"nn.{name}": value
    for name, value in vars(nn).items()
    if inspect.isclass(value) and issubclass(value, nn.Module) and name in nn.__all__
}
FUNCTIONS = {
    **{
        f"nnlib.{name}": getattr(nnlib, name)
        for name in nnlib.__all__
        if callable(getattr(nnlib, name))
        and not inspect.isclass(getattr(nnlib, name))
        and name not in NOT_CALLED
    },
    **{f"F.{name}": getattr(F, name) for name in F.__all__},
}
METHODS = {
    f"Tensor.{name}": getattr(T, name)
    for name in (
        "all", "any", "argmax", "argmin", "clip", "cumsum", "max", "mean", "min", "prod", "reshape",
        "round", "squeeze", "std", "sum", "swapaxes", "transpose", "var",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *MODULES])
def test_unknown_keyword_is_refused_by_the_public_name(name):
    function = {**FUNCTIONS, **METHODS, **MODULES}[name]
    takes = inspect.signature(function).parameters.values()
    if name in MODULES and any(p.kind is p.VAR_POSITIONAL for p in takes):
        arguments = ()
    else:
        arguments = [T for p in takes if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if name in METHODS:
        arguments = ()
    short = name.split(".")[-1]
    with pytest.raises(ArgumentError, match=rf"^{short} takes .*the keyword 'no_such_thing'"):
        function(*arguments, no_such_thing=1)


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (lambda: nnlib.sum(T, dim=1), "axis="),
        (lambda: T.sum(dim=1), "axis="),
        (lambda: T.mean(1, keepdim=True), "keepdims="),
        (lambda: T.var(unbiased=False), "ddof="),
        (lambda: nnlib.std(T, correction=1), "ddof="),
        (lambda: nnlib.softmax(T, dim=1), "axis="),
        (lambda: F.softmax(T, axis=1), "dim="),
        (lambda: nnlib.stack([T, T], dim=0), "axis="),
        (lambda: nnlib.concatenate([T, T], axes=0), "axis="),
        (lambda: nnlib.matmul(T, other=T), "b="),
        (lambda: nnlib.exp(input=T), "x="),
        (lambda: nnlib.take_along_axis(T, index=T, axis=0), "indices="),
        (lambda: T.clip(a_min=0), "min="),
        (lambda: T.swapaxes(dim0=0, dim1=1), "axis1="),
        (lambda: nnlib.linspace(0, 1, steps=3), "num="),
        (lambda: nnlib.full((2,), fill_value=1.0), "value="),
        (lambda: F.dropout(T, rate=0.1), "p="),
        (lambda: F.linear(input=T, weight=T), "x="),
        (lambda: nn.Softmax(axis=1), "dim="),
        (lambda: nn.Linear(2, units=3), "out_features="),
        (lambda: optim.SGD([T], learning_rate=1), "lr="),
        (lambda: nnlib.tensor([1.0], device="cpu"), "backend="),
        (lambda: nnlib.sum(T, axsi=1), "Did you mean 'axis'"),
        (lambda: nn.Conv2d(1, 2, 3, strid=2), "Did you mean 'stride'"),
    ],
)
def test_keyword_of_another_library_names_ours(call, right):
    with pytest.raises(ArgumentError, match=re.escape(right)) as raised:
        call()
    assert "forward()" not in str(raised.value)
    assert " _" not in str(raised.value)


def test_words_elsewhere_lead_somewhere():
    known = {
        name
        for function in [*FUNCTIONS.values(), *MODULES.values(), optim.SGD, optim.AdamW]
        for name in inspect.signature(function).parameters
    }
    for keyword, meant in OTHER_NAMES.items():
        assert known & set(meant), keyword


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nnlib.add(T), r"add\(a, b\) needs b"),
        (lambda: nnlib.reshape(T), r"reshape.* needs shape"),
        (lambda: nnlib.sum(T, 0, True, 3), r"sum.* at most 3 arguments. Received: 4"),
        (lambda: nnlib.sum(T, 0, axis=1), r"sum.* takes 'axis' once"),
        (lambda: nnlib.concatenate([T], 0, axis=1), r"concatenate.* takes 'axis' once"),
        (lambda: nnlib.concatenate([T], 0, 1), r"concatenate.* at most 2 arguments"),
        (lambda: nnlib.add(T, a=T), r"add\(a, b\): multiple values for argument 'a'"),
        (lambda: nnlib.arange(), r"arange takes stop"),
        (lambda: F.relu(T, True), r"relu\(x\) takes at most 1 arguments. Received: 2"),
        (lambda: nn.Linear(3), r"Linear\(in_features, out_features, bias=True\): missing"),
        (lambda: nn.ReLU(True), r"ReLU\(\): too many positional arguments"),
        (lambda: nn.Linear(2, 1)(T, T), r"Linear\(x, \*, activation=None\): too many"),
        (lambda: nn.Conv2d(1, 1, 1)(T, "relu"), r"Conv2d\(x, \*, activation=None\): too many"),
        (lambda: nn.Tanh()(T, dim=1), r"Tanh takes x. Received: the keyword 'dim'"),
        (lambda: nn.MultiheadAttention(4, 2, 0.0, True, True), "too many positional"),
        (lambda: F.dropout(T, 0.5, True, True), "too many positional"),
        (lambda: T.reshape(2, 2, shape=(4,)), "shape must be given once"),
    ],
)
def test_calls_that_do_not_fit(call, text):
    with pytest.raises(ArgumentError, match=text):
        call()


def test_an_error_of_the_layer_itself_stays():
    class Broken(nn.Module):
        def forward(self, x):
            return len(x, x)

    with pytest.raises(TypeError, match=r"^len\(\) takes exactly one argument"):
        Broken()(T)


def test_an_inner_call_that_does_not_fit_is_named_with_its_path():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Tanh()

        def forward(self, x):
            return self.inner(x, x)

    with pytest.raises(ArgumentError, match=r"^Tanh\(x\): too many positional arguments"):
        Outer()(T)


def test_abstract_classes_can_be_modules():
    from abc import ABC

    class Model(nn.Module, ABC):
        def __init__(self, size, *, depth=1):
            super().__init__()
            self.size = size * depth

    assert Model(2, depth=3).size == 6
    assert list(inspect.signature(nn.Linear).parameters) == ["in_features", "out_features", "bias"]
    with pytest.raises(ArgumentError, match="Model takes size, depth"):
        Model(2, dept=3)


def test_explained_keeps_errors_that_explain_themselves():
    @explained
    def refuse(x):
        raise ShapeError("as it is")

    with pytest.raises(ShapeError, match=r"^as it is$"):
        refuse(1)
    with pytest.raises(IndexingError):
        explain(IndexError("i"), "f", [T], {})
    with pytest.raises(DTypeError) as caught:
        explain(TypeError("t"), "f", [T], {"axis": 1})
    assert str(caught.value) == "f: t. Received: float32 (2, 2) with {'axis': 1}"


def test_an_error_keeps_its_cause():
    cause = KeyError("cause")

    @explained
    def refuse(x):
        raise ShapeError("as it is") from cause

    with pytest.raises(ShapeError) as caught:
        refuse(1)
    assert caught.value.__cause__ is cause


def test_unknown_keyword_of_a_function_without_arguments():
    assert str(unknown_keyword("f", "x", [])) == "f takes no arguments. Received: the keyword 'x'."


# Bad values --------------------------------------------------------------------------------------

VALUES = {
    "matrix": T,
    "indices": nnlib.tensor([[0, 1], [1, 0]]),
    "number": nnlib.tensor(2.0),
    "empty": nnlib.ones(0, 3),
    "mask": nnlib.tensor([True, False]),
    "word": "a",
    "none": None,
    "minus one": -1,
    "seven": 7,
    "half": 0.5,
    "nothing": [],
    "tensors": [T, T],
    "numbers": [1, 2],
    "tuple": (9,),
    "object": object(),
    "dict": {},
    "nan": float("nan"),
    "type": int,
    "complex": 1j,
    "words": np.array(["a"]),
    "objects": np.array([None]),
}


@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS, *MODULES])
@pytest.mark.filterwarnings("ignore")
def test_bad_arguments_end_in_typed_errors(name):
    """Wrong kinds, shapes and numbers in every place: a result, or an error of ours."""
    function = {**FUNCTIONS, **METHODS, **MODULES}[name]
    named = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.name not in ("backend", "generator")
    ]
    for value in VALUES.values():
        if name in METHODS:
            calls = [((value,), {})]
        else:
            calls = [((value,), {}), ((T, value), {}), ((VALUES["indices"], value), {})]
            calls += [((T, T, value), {}), ((T, VALUES["indices"], value), {})]
        calls += [((T,) if key != named[0] else (), {key: value}) for key in named]
        for args, options in calls:
            with contextlib.suppress(NnlibError):
                function(*args, **options)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nnlib.arange(0, 3, 0), ValueError, "step .*must not be 0"),
        (lambda: nnlib.take_along_axis(T, nnlib.tensor([[23], [0]]), 1), IndexError, "23"),
        (lambda: T[7], IndexError, "index 7 is out of bounds"),
        (lambda: T[0, 0, 0], IndexError, "too many indices"),
        (lambda: T[nnlib.tensor([0, 5])], IndexError, "index 5"),
        (lambda: T["a"], IndexError, "valid indices"),
        (lambda: nnlib.zeros(2).__setitem__(3, 1.0), IndexError, "index 3 is out of bounds"),
        (
            lambda: T @ nnlib.ones(3, 2),
            ValueError,
            r"matmul: shapes must be .*Received: float32 \(2, 2\), ",
        ),
        (lambda: T @ 2, ValueError, "matmul: shapes must be"),
        (lambda: nnlib.sum(T, axis=2), ValueError, r"axis 2 is out of bounds.*float32 \(2, 2\)"),
        (lambda: nnlib.sum(T, axis=(0, 0)), ValueError, "duplicate value in 'axis'"),
        (lambda: nnlib.sum(T.data, axis=2), ValueError, "sum: axis 2 is out of bounds"),
        (lambda: T.reshape(3), ValueError, r"cannot reshape.*float32 \(2, 2\)"),
        (lambda: T.transpose(0, 0), ValueError, "repeated axis"),
        (lambda: T.squeeze(0), ValueError, "squeeze: .*size not equal to one"),
        (lambda: nnlib.stack([T, T[0]]), ValueError, "stack: .*same shape"),
        (lambda: nnlib.stack([]), ValueError, "stack needs at least one array"),
        (lambda: nnlib.concatenate([T, nnlib.ones(1)]), ValueError, "concatenate: "),
        (lambda: nnlib.broadcast_to(T, (3, 2)), ValueError, "broadcast_to: "),
        (lambda: nnlib.flip(T, 3), ValueError, "flip: .*3"),
        (lambda: nnlib.roll(T, 1, 3), ValueError, "roll: axis 3"),
        (lambda: nnlib.pad(T, -1), ValueError, "numbers ≥ 0"),
        (lambda: nnlib.pad(T, [(1, 1)] * 3), ValueError, "one .before, after. pair"),
        (lambda: nnlib.linspace(0, 1, -1), ValueError, "linspace: .*-1"),
        (lambda: nnlib.zeros(-1), ValueError, "zeros: negative"),
        (lambda: nnlib.rand(2, -1), ValueError, "rand: negative"),
        (lambda: nnlib.randn(1.5), TypeError, "randn: every size must be an integer"),
        (lambda: nnlib.ones("ab"), TypeError, "ones: every size must be an integer"),
        (lambda: nnlib.zeros(2, dtype="floaty"), TypeError, "zeros: .*floaty"),
        (lambda: nnlib.tensor([1], dtype="floaty"), TypeError, "floaty"),
        (lambda: T.astype("floaty"), TypeError, "astype: .*floaty"),
        (lambda: nnlib.from_dlpack(3), TypeError, "__dlpack__. Received: int"),
        (lambda: len(nnlib.tensor(1.0)), TypeError, r"an axis. Received: float32 \(\)"),
        (lambda: list(nnlib.tensor(1.0)), TypeError, "an axis"),
        (lambda: bool(T), ValueError, "a single value"),
        (lambda: nn.Dropout("a"), TypeError, "p must be a number. Received: 'a'"),
        (lambda: nn.LayerNorm(None), TypeError, "normalized_shape must be integers"),
    ],
)
def test_what_must_hold_and_what_came(call, error, text):
    with pytest.raises(NnlibError, match=text) as raised:
        call()
    assert isinstance(raised.value, error)


def test_dtype_errors_are_type_errors():
    with pytest.raises(DTypeError, match="takes tensors, arrays and numbers"):
        nnlib.add(T, "a")
