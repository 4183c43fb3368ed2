"""Every workload of compare-gpu can be recorded, and a replay is the step: with a small batch."""

import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib_benchmarks import workloads
from nnlib_benchmarks.contestants import precision_scope, training_step
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.vgg16 import vgg_layers

GPU = pytest.param("cupy", marks=pytest.mark.gpu)
BATCH = 2


def narrow(described):
    """A sixteenth of the channels and features, but those of images, and the classes."""
    sizes = {
        side: {layer[side] for layer in described if side in layer}
        for side in ("inputs", "outputs")
    }
    kept = {min(sizes["inputs"]), described[-1]["outputs"]}
    return [
        layer
        | {side: layer[side] // 16 for side in sizes if layer.get(side, min(kept)) not in kept}
        for layer in described
    ]


NARROW = {
    "gpt2-124m": [layers.gpt(50304, 16, blocks=2, heads=2, width=16)],
    "mlp-8192": layers.mlp((784, 96, 96, 96, 10)),
    "mlp-wide": layers.mlp((784, 64, 64, 10)),
    "vgg16-b64": narrow(vgg_layers(16, 32, 1000)),
    "vgg16-b256": narrow(vgg_layers(16, 32, 1000)),
}
"""What is too large for a test → the same kinds of layers, or smaller images."""


def batches(workload, count):
    """Host arrays as a loader would bring them, in the shape of the narrow model."""
    x, y = workload.train.prepare(workload.train.pixels[:4]), workload.train.labels[:4]
    base = workload.name.partition("@")[0]
    if base.startswith("vgg16"):
        x = np.ascontiguousarray(x[:, :32, :32])
    if base == "gpt2-124m":
        x, y = x[:, :16], y[:, :16]
    for i in range(count):
        rows = [(BATCH * i + j) % 4 for j in range(BATCH)]
        yield x[rows], y[rows]


def losses_and_weights(name, count, *, eager):
    """Train some steps; the weights of the end, and every loss."""
    workload = workloads.make_workload(name, True, 0)
    base = name.partition("@")[0]
    nnlib.manual_seed(0)
    model = layers.build(NARROW.get(base, workload.layers))
    optimizer = workload.optimizer.build(model.parameters())
    scope = precision_scope(workload.precision)
    step = training_step(model, optimizer, eager=eager, scope=scope)
    losses = [step(nnlib.tensor(x), nnlib.tensor(y)).item() for x, y in batches(workload, count)]
    return step, losses, [p.numpy().copy() for p in model.parameters()]


def assert_equal(name, count, where):
    with nnlib.use_backend(where):
        step, losses, weights = losses_and_weights(name, count, eager=False)
        assert step.memory_bytes > 0  # it was recorded
        _, expected, wanted = losses_and_weights(name, count, eager=True)
    np.testing.assert_array_equal(losses, expected)  # to the bit: the same kernels in one order
    assert losses[0] != losses[-1]
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("where", ["numpy", GPU])
@pytest.mark.parametrize("name", workloads.GROUPS["compare-gpu"])
def test_a_replay_is_the_step(name, where):
    assert_equal(name, 5, where)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["numpy", "strict", GPU])
@pytest.mark.parametrize("name", ["mlp-tiny", "lenet-64", "lstm", "mlp-8192@bf16"])
def test_a_thousand_replays_are_a_thousand_steps(name, where):
    assert_equal(name, 1000 if where != "strict" else 20, where)


@pytest.mark.parametrize("name", NARROW)
def test_what_is_narrowed_has_the_kinds_of_layers_that_it_stands_for(name):
    kinds = [layer["kind"] for layer in workloads.make_workload(name, True, 0).layers]
    assert [layer["kind"] for layer in NARROW[name]] == kinds
    with nn.init.skip():
        assert layers.build(NARROW[name])
