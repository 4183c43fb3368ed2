"""Gradients are left where the optimizer has its own, by the kernels themselves."""

import numpy as np
import pytest
from emulation import EmulatedBackend
from emulation.arguments import ARGUMENTS
from ops import test_conformance as conformance

from nnlib.ops.operation import Fused
from nnlib_backends.base import GradOut, anywhere

OWN = {name for name, pair in EmulatedBackend().own.items() if pair.writes}
SAMPLES = [s for s in conformance.SAMPLES if s.values[0].name in OWN]


def compare(backend, operation, arguments, options):
    """Gradients in new arrays and in given ones: the same bits."""
    arguments, options = operation.bind(arguments, options)
    arrays = [
        None if x is None else backend.asarray(x.astype("f4") if x.dtype.kind == "f" else x)
        for x in arguments
    ]
    kernel = backend.kernels[operation.name]
    y, saved = kernel.forward(*arrays, **options)
    g = backend.asarray(conformance.upstream(y.shape).astype("f4"))
    needed = [x is not None and x.dtype.kind == "f" for x in arguments]
    expected = kernel.backward(g, saved, anywhere(needed), *arrays, **options)
    for chosen in conformance.subsets(arguments):
        targets = [
            backend.asarray(np.full(x.shape, np.nan, "f4")) if wanted else None
            for x, wanted in zip(arguments, chosen, strict=True)
        ]
        outs = [None if target is None else GradOut(target) for target in targets]
        found = kernel.backward(g, saved, outs, *arrays, **options)
        for wanted, target, ours, other in zip(chosen, targets, found, expected, strict=True):
            if wanted:
                assert ours is target
                np.testing.assert_array_equal(backend.to_numpy(target), backend.to_numpy(other))


@pytest.mark.parametrize(("operation", "case"), SAMPLES)
def test_gradients_go_where_they_are_told(operation, case, backend):
    compare(backend, operation, case.draw(), case.options)


@pytest.mark.parametrize("name", sorted(OWN.intersection(ARGUMENTS)))
def test_sums_of_many_rows_go_there_too(name, backend):
    arguments = ARGUMENTS[name](np.random.default_rng(0), 700, 8)
    compare(backend, Fused.registry[name], arguments, {})


@pytest.mark.parametrize("rows", [7, 700])
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm", "batch_norm", "embedding"])
def test_a_gradient_in_its_place_costs_no_copy(name, rows, emulated, monkeypatch):
    arguments = ARGUMENTS[name](np.random.default_rng(0), rows, 8)
    arguments, options = Fused.registry[name].bind(arguments, {})
    arrays = [emulated.asarray(x.astype("f4") if x.dtype.kind == "f" else x) for x in arguments]
    kernel = emulated.kernels[name]
    y, saved = kernel.forward(*arrays, **options)
    outs = [
        GradOut(emulated.xp.empty(x.shape, "f4")) if x.dtype.kind == "f" else None
        for x in arguments
    ]
    written = []
    monkeypatch.setattr(type(y), "__setitem__", lambda array, index, value: written.append(value))
    kernel.backward(y, saved, outs, *arrays, **options)
    assert written == ([0] if name == "embedding" else [])  # zeros, before rows are added
