"""The description for peers must be the model that nnlib trains."""

import numpy as np
import pytest

import nnlib
from nnlib import models
from nnlib.errors import OptionError
from nnlib_benchmarks import flops, workloads
from nnlib_benchmarks.workloads import layers, mlp_mnist
from nnlib_benchmarks.workloads.base import LEAST_WARMUP
from nnlib_benchmarks.workloads.vgg16 import vgg_layers


@pytest.mark.parametrize("name", [n for n in workloads.TRAINING if "vgg" not in n])
def test_the_layers_are_the_model(name):
    workload = workloads.TRAINING[name](True, 0)
    x = nnlib.tensor(workload.train.prepare(workload.train.pixels[:3]))
    model = workload.build()

    described = layers.build(workload.layers)
    described.load_state_dict(
        dict(zip(described.state_dict(), model.state_dict().values(), strict=True))
    )

    np.testing.assert_array_equal(described(x).numpy(), model(x).numpy())


@pytest.mark.parametrize(("depth", "side"), [(11, 48), (16, 32)])
def test_the_layers_of_vgg_are_the_model(depth, side):
    with nnlib.nn.init.skip():
        model = models.VGG(depth, 10, image_size=side)
        described = layers.build(vgg_layers(depth, side, 10))

    assert [p.shape for p in model.parameters()] == [p.shape for p in described.parameters()]


@pytest.mark.parametrize("quick", [False, True])
def test_recording_and_compiling_fit_into_every_warm_up(quick):
    for name, make in workloads.TRAINING.items():
        assert make(quick, 0).plan.warmup >= LEAST_WARMUP, name


def test_groups_stand_for_their_members():
    assert workloads.expand(["mlp-tiny", "compare"]) == list(workloads.GROUPS["compare"])
    assert set().union(*workloads.GROUPS.values()) <= set(workloads.TRAINING)
    with pytest.raises(OptionError, match="'compare-odd'"):
        workloads.expand(["comparison"])


def test_vgg16_has_13_convolutions_and_3_linear_layers():
    kinds = [layer["kind"] for layer in vgg_layers()]
    assert (kinds.count("conv"), kinds.count("maxpool"), kinds.count("linear")) == (13, 5, 3)


@pytest.mark.slow
def test_vgg16_is_the_published_one():
    model = workloads.TRAINING["vgg16"](True, 0).build()
    assert sum(p.size for p in model.parameters()) == 138_357_544


@pytest.mark.parametrize("name", ["mlp", "lenet", "mlp-mnist", "cnn-odd"])
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
    assert workload.optimizer.text.startswith(("SGD", "AdamW"))
