"""The exception tree, as its module draws it, and the form of the texts."""

import builtins
import re

import numpy as np
import pytest

import nnlib
from nnlib import errors, nn
from nnlib.errors import DTypeError, NnlibError, ShapeError, describe, did_you_mean

DRAWN = re.findall(r"^ *([│├└─ ]*)(\w+Error) \((\w+)\)", errors.__doc__, re.MULTILINE)


def test_every_error_is_drawn_and_exported():
    names = {name for _, name, _ in DRAWN}
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, NnlibError)
    }
    assert defined - {"BackendUnavailableError"} <= names
    assert defined <= set(errors.__all__)


@pytest.mark.parametrize(("name", "builtin"), [(name, base) for _, name, base in DRAWN])
def test_each_is_also_what_a_numpy_user_would_catch(name, builtin):
    error = getattr(errors, name)
    assert issubclass(error, NnlibError)
    assert issubclass(error, getattr(builtins, builtin))


def test_tree_is_as_drawn():
    """Deeper indentation means a subclass of the last line that is less deep."""
    above: list[tuple[int, type]] = []
    for indent, name, _ in DRAWN:
        error = getattr(errors, name)
        while above and above[-1][0] >= len(indent):
            above.pop()
        if above:
            assert issubclass(error, above[-1][1]), name
        above.append((len(indent), error))


def test_description():
    assert describe(np.zeros((2, 3), np.float32), None, 5) == "float32 (2, 3), None, 5"
    assert describe(nnlib.zeros(4, backend="strict")) == "float32 (4,)"
    assert describe() == ""


def test_a_similar_name_is_suggested():
    assert did_you_mean("rleu", ["tanh", "relu"]) == " Did you mean 'relu'?"
    assert did_you_mean("quux", ["tanh", "relu"]) == ""
    assert did_you_mean(3, {"relu": 1}) == ""


FAILURES = {
    "matmul": lambda: nnlib.ones(2, 3) @ nnlib.ones(2, 3),
    "add": lambda: nnlib.ones(2, 3) + nnlib.ones(4),
    "reshape": lambda: nnlib.ones(2, 3).reshape(7),
    "concatenate": lambda: nnlib.concatenate([nnlib.ones(2, 3), nnlib.ones(2, 4)]),
    "stack": lambda: nnlib.stack([nnlib.ones(2), nnlib.ones(3)]),
    "transpose": lambda: nnlib.ones(2, 3).transpose(0, 0),
    "broadcast_to": lambda: nnlib.broadcast_to(nnlib.ones(2), shape=(3,)),
    "squeeze": lambda: nnlib.ones(2, 3).squeeze(0),
    "sum": lambda: nnlib.ones(2, 3).sum(axis=5),
    "where": lambda: nnlib.where(nnlib.ones(2) > 0, nnlib.ones(3), 0.0),
}


@pytest.mark.parametrize("name", FAILURES)
def test_text_names_the_operation_and_what_it_received(name, backend):
    with pytest.raises(ShapeError) as caught:
        FAILURES[name]()
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert re.search(r"Received: (bool|float32) \(\d", text)
    assert isinstance(caught.value.__cause__, ValueError)


def test_options_are_part_of_the_text(backend):
    with pytest.raises(ShapeError, match=r"Received: float32 \(2, 3\) with \{'shape': \(7,\)\}"):
        nnlib.ones(2, 3).reshape(7)


def test_wrong_kind_of_option(backend):
    with pytest.raises(DTypeError, match=r"sum: .*Received: float32 \(2, 3\) with \{'axis': 'x'"):
        nnlib.ones(2, 3).sum(axis="x")


def test_dtypes_are_part_of_the_text():
    with pytest.raises(ShapeError, match=r"int64 \(3,\), float64 \(2,\)"):
        nnlib.tensor([1, 2, 3]) * np.ones(2)


def test_layer_and_path_are_part_of_the_text(backend):
    class Broken(nn.Module):
        def forward(self, x):
            return x @ nnlib.ones(5, 5)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Tanh(), Broken())

        def forward(self, x):
            return self.body(x)

    with pytest.raises(ShapeError, match=r"matmul: .*\[in Broken at 'body.1'\]"):
        Model()(nnlib.ones(2, 3))


def test_errors_of_the_kernels_are_explained_too(backend):
    with pytest.raises(ShapeError, match=r"in_features = 5 values. Received: float32 \(2, 3\)"):
        nnlib.ops.linear(nnlib.ones(2, 3), nnlib.ones(4, 5))
