"""The description for peers must be the model that nnlib trains."""

import numpy as np
import pytest

import nnlib
from nnlib_benchmarks import flops, workloads
from nnlib_benchmarks.workloads import mlp_mnist
from nnlib_benchmarks.workloads.vgg16 import vgg_layers


@pytest.mark.parametrize("name", ["mlp", "lenet", "mlp-mnist"])
def test_the_layers_with_weights_are_the_models(name):
    workload = workloads.TRAINING[name](True, 0)

    shapes = [w.shape for w in workload.build().state_dict().values()]

    weighted = [layer["kind"] for layer in workload.layers if layer["kind"] in ("linear", "conv")]
    assert [len(s) for s in shapes[::2]] == [2 if k == "linear" else 4 for k in weighted]
    assert [len(s) for s in shapes[1::2]] == [1] * len(weighted)


def test_vgg16_has_13_convolutions_and_3_linear_layers():
    kinds = [layer["kind"] for layer in vgg_layers()]
    assert (kinds.count("conv"), kinds.count("maxpool"), kinds.count("linear")) == (13, 5, 3)


@pytest.mark.slow
def test_vgg16_is_the_published_one():
    model = workloads.TRAINING["vgg16"](True, 0).build()
    assert sum(p.size for p in model.parameters()) == 138_357_544


@pytest.mark.parametrize("name", ["mlp", "lenet", "mlp-mnist"])
def test_flops_are_those_of_the_summary(name):
    workload = workloads.TRAINING[name](True, 0)
    batch = workload.train.prepare(workload.train.pixels[:2])
    layers = []

    def note(module, inputs, output):
        weight = getattr(module, "weight", None)
        if weight is not None:
            layers.append(2 * int(np.prod(output.shape)) * int(np.prod(weight.shape[1:])))

    model = workload.build()
    for module in model.modules():
        module.register_forward_hook(note)
    model(nnlib.tensor(batch))

    assert workload.flops(2) == flops.training_step(layers)


def test_without_mnist_there_are_synthetic_images_that_can_be_learned(monkeypatch, tmp_path):
    monkeypatch.setattr(mlp_mnist, "real_images", lambda: None)

    workload = mlp_mnist.workload(True, 0)

    assert workload.test is None
    assert "MNIST was not found" in workload.data_text
    assert workload.train.pixels.shape == (8192, 784)
    assert len(np.unique(workload.train.labels)) == 10


@pytest.mark.parametrize("name", list(workloads.TRAINING))
def test_every_workload_says_what_it_is(name):
    workload = workloads.TRAINING[name](True, 0)

    assert workload.name == name
    assert workload.train.pixels.dtype == np.uint8
    assert workload.title
    assert workload.data_text
    assert "SGD" in workload.optimizer_text
