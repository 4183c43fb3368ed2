import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnlib
from nnlib.cli import checks
from nnlib.ops.operation import Integers, fused_operations
from nnlib_backends import KernelPair, load_backend
from nnlib_backends.base import ANYWHERE, GradOut, anywhere
from nnlib_backends.common.fused import either
from nnlib_backends.numpy_backend import kernel_choice as module

ROOT = Path(__file__).parents[3]

needs_numba = pytest.mark.skipif(
    module.compiled_kernels()[0] is None, reason=module.compiled_kernels()[1]
)


def words(name):
    return KernelPair(lambda *arrays: (name, None), lambda *given: [name])


@pytest.mark.parametrize(
    ("dtypes", "chosen"),
    [
        ("f", "compiled"), ("ff", "compiled"), ("fl", "compiled"), ("fB", "compiled"),
        ("d", "general"), ("fd", "general"), ("e", "general"), ("dl", "general"), ("l", "general"),
        ("ffl", "general"),
    ],
)  # fmt: skip
def test_compiled_kernels_are_for_float32_alone(dtypes, chosen):
    kernel = either(module.float32_but_for(1), words("compiled"), words("general"))
    arrays = [*(np.zeros(2, dtype) for dtype in dtypes), None]
    assert kernel.forward(*arrays)[0] == chosen
    assert kernel.backward(np.zeros(2), None, anywhere((True,)), *arrays) == [chosen]


def test_gradients_of_general_kernels_are_stored():
    linear = load_backend("numpy").kernels["linear"]
    x, w, b = np.ones((2, 3)), np.ones((4, 3)), np.ones(4)
    target = np.full((4, 3), np.nan)
    g = np.arange(8.0).reshape(2, 4)
    dx, dw, db = linear.backward(g, None, (None, GradOut(target), ANYWHERE), x, w, b)
    assert dx is None
    assert dw is target
    np.testing.assert_array_equal(dw, g.T @ x)
    np.testing.assert_array_equal(db, g.sum(axis=0))


def in_a_new_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_environment_switches_compiled_kernels_off():
    told = in_a_new_process(
        "import sys, nnlib; from nnlib.cli.checks import check_kernels\n"
        "print(nnlib.relu(nnlib.tensor([-1.0, 1.0])).tolist(), 'numba' in sys.modules)\n"
        "print(next(check_kernels()))",
        NNLIB_NATIVE="0",
    )
    assert told.startswith("[0.0, 1.0] False")
    assert "because NNLIB_NATIVE=0" in told
    assert "unset NNLIB_NATIVE" in told


def test_everything_works_without_numba():
    told = in_a_new_process(
        "import sys; sys.modules['numba'] = None\n"
        "import nnlib; from nnlib.cli.checks import check_kernels\n"
        "print(nnlib.relu(nnlib.nn.Linear(2, 3)(nnlib.ones(4, 2))).shape)\n"
        "print(next(check_kernels()))",
        NNLIB_NATIVE="1",
    )
    assert told.startswith("(4, 3)")
    assert "numba cannot be imported" in told
    assert "pip install --upgrade numba" in told


@needs_numba
def test_doctor_counts_compiled_kernels():
    nnlib.relu(nnlib.tensor([1.0]))
    (finding,) = checks.check_kernels()
    assert finding.status == "ok"
    assert "kernels by Numba" in finding.detail


def test_a_failing_compiler_is_no_failure(monkeypatch):
    table = pytest.importorskip("nnlib_backends.numpy_backend.kernels.cpu_kernels")

    def broken():
        raise RuntimeError("no code today")

    monkeypatch.setattr(table, "probe", broken)
    monkeypatch.delenv("NNLIB_NATIVE", raising=False)
    module.compiled_kernels.forget()
    try:
        assert module.compiled_kernels() == (
            None,
            "Numba does not work here: RuntimeError: no code today",
        )
    finally:
        module.compiled_kernels.forget()


@needs_numba
@pytest.mark.parametrize(
    "operation", list(fused_operations()), ids=lambda operation: operation.name
)
def test_integers_in_the_place_of_floats_are_not_read_as_floats(operation):
    """The operation checks its first argument; weights of integers are left to NumPy."""
    samples, options = operation.samples[0]
    options = {**operation.options, **options}
    ours, general = module.kernels()[operation.name], module.general_kernels()[operation.name]
    for place, shape in enumerate(samples):
        if place == 0 or shape is None or isinstance(shape, Integers):
            continue
        arrays = [
            None
            if sample is None
            else np.ones(sample.shape, np.int64)
            if isinstance(sample, Integers)
            else np.ones(sample, np.int8 if i == place else np.float32)
            for i, sample in enumerate(operation.bind(samples, {})[0])
        ]
        expected = general.forward(*arrays, **options)[0]
        np.testing.assert_array_equal(ours.forward(*arrays, **options)[0], expected)


def test_the_arguments_of_integers_are_where_the_samples_have_them():
    found = {
        (operation.name, place)
        for operation in fused_operations()
        for samples, _ in operation.samples
        for place, sample in enumerate(samples)
        if isinstance(sample, Integers)
    }
    assert found == set(module.INTEGERS.items())
