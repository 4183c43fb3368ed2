"""The conformance tests of all backends, on one that computes with the GPU's kernels."""

import pytest
from emulation import EmulatedBackend
from ops import test_conformance as conformance

OWN = set(EmulatedBackend().own)
SLOW = {"gru-1", "lstm-1", "lstm-2", "rnn-1"}  # definitions; test_kernels.py has more cases
SAMPLES = [s for s in conformance.SAMPLES if s.values[0].name in OWN and s.id not in SLOW]
samples = pytest.mark.parametrize(("operation", "case"), SAMPLES)


@pytest.mark.parametrize(("how", "dtype"), [("rows", "float32"), ("strided", "float64")])
@samples
def test_kernel_agrees_with_the_definition(operation, case, dtype, how, backend):
    conformance.test_kernel_agrees_with_the_definition(operation, case, dtype, how, backend)


@samples
def test_kernel_leaves_its_arguments_alone(operation, case, backend):
    conformance.test_kernel_leaves_its_arguments_alone(operation, case, backend)


@samples
def test_what_a_kernel_returns_is_the_callers(operation, case, backend):
    conformance.test_what_a_kernel_returns_is_the_callers(operation, case, backend)


def test_there_are_kernels_for_what_the_plan_names():
    assert {
        "linear", "conv2d", "gelu", "silu", "softmax_cross_entropy", "sigmoid_cross_entropy",
        "layer_norm", "rms_norm", "batch_norm", "max_pool2d", "avg_pool2d", "dropout", "embedding",
        "lstm", "gru", "rnn",
    } == OWN  # fmt: skip
