"""Every public name says how it is used, in an example that runs, and names its parameters right.

That the examples run is tested by ``--doctest-modules``; this looks at what is there.
"""

import importlib
import inspect
import re

import pytest

import nnlib
from nnlib.ops.operation import Operation

MODULES = [
    "nnlib",
    "nnlib.data",
    "nnlib.data.transforms",
    "nnlib.errors",
    "nnlib.io",
    "nnlib.models",
    "nnlib.nn",
    "nnlib.nn.functional",
    "nnlib.nn.init",
    "nnlib.ops",
    "nnlib.optim",
    "nnlib.optim.schedules",
    "nnlib.random",
    "nnlib.train",
    "nnlib_backends",
]
WITHOUT_EXAMPLE = {
    "nnlib.is_grad_enabled": "a context variable's own method, for speed",
    "nnlib.data.transforms.Transform": "a type alias",
}


def is_documented(name, value):
    """Functions, operations and classes; an exception's name and the tree say it all."""
    if inspect.ismodule(value) or name in WITHOUT_EXAMPLE:
        return False
    if inspect.isclass(value) and issubclass(value, Exception):
        return False
    return callable(value)


def public_names():
    """Path → object, each object once, under its shortest path."""
    found = {}
    for module in map(importlib.import_module, sorted(MODULES, key=len)):
        for name in module.__all__:
            path, value = f"{module.__name__}.{name}", getattr(module, name)
            if is_documented(path, value) and all(value is not other for other in found.values()):
                found[path] = value
    return found


def tensor_methods():
    """Methods of a tensor that are not a public function as well."""
    return {
        f"nnlib.Tensor.{name}": value
        for name, value in vars(nnlib.Tensor).items()
        if inspect.isfunction(value) and not name.startswith("_") and not hasattr(nnlib, name)
    }


NAMES = {**public_names(), **tensor_methods()}
PARAMETRIZE = pytest.mark.parametrize(("name", "value"), NAMES.items(), ids=NAMES)


def sections(value):
    """Heading → text below it of a docstring in NumPy's style."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}\n", inspect.cleandoc(value.__doc__ or ""), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented_parameters(value):
    """Names at the margin of a section "Parameters": ``low, high : float`` is two."""
    names = []
    for line in sections(value)["Parameters"].splitlines():
        if line and not line.startswith(" "):
            names += [name.strip(" *") for name in line.partition(" : ")[0].split(",")]
    return names


@PARAMETRIZE
def test_there_is_an_example(name, value):
    assert ">>> " in sections(value).get("Examples", ""), f"{name} needs a section Examples"


@PARAMETRIZE
def test_documented_parameters_are_those_of_the_signature(name, value):
    if "Parameters" not in sections(value):
        return
    expected = [p for p in inspect.signature(value).parameters if p not in ("self", "xp")]
    assert sorted(documented_parameters(value)) == sorted(expected)


def test_the_walk_meets_functions_classes_and_operations():
    assert len(NAMES) > 200
    assert any(isinstance(value, Operation) for value in NAMES.values())
    assert {"nnlib.tensor", "nnlib.nn.Conv2d", "nnlib.Tensor.backward"} <= set(NAMES)


def test_names_without_an_example_exist():
    for path in WITHOUT_EXAMPLE:
        module, _, name = path.rpartition(".")
        assert name in importlib.import_module(module).__all__


def test_parameters_are_read_from_a_docstring():
    def f(low, high, *shape):
        """Do nothing.

        Parameters
        ----------
        low, high : float
            From, to.
        *shape : int

        Raises
        ------
        Nothing
        """

    assert documented_parameters(f) == ["low", "high", "shape"]
