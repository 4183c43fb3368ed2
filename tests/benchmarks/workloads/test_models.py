"""The description for peers must be the model that nnlib trains."""

import numpy as np
import pytest

import nnlib
from nnlib import models
from nnlib.errors import OptionError
from nnlib_benchmarks import flops, workloads
from nnlib_benchmarks.contestants import training_step
from nnlib_benchmarks.workloads import gpu, layers, mlp_mnist
from nnlib_benchmarks.workloads.base import LEAST_WARMUP, endless
from nnlib_benchmarks.workloads.vgg16 import vgg_layers

LARGE = [*gpu.WORKLOADS, *(name for name in workloads.TRAINING if "vgg" in name)]


@pytest.mark.parametrize("name", [n for n in workloads.TRAINING if n not in LARGE])
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
    for group in workloads.GROUPS:
        assert workloads.expand([group]) == list(workloads.GROUPS[group])
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
    assert workload.train.pixels.dtype in (np.uint8, np.uint16)
    assert len(workload.train.labels) >= workload.plan.batch
    assert workload.title
    assert workload.data_text
    assert workload.optimizer.text.startswith(("SGD", "AdamW"))


def test_a_name_may_carry_its_precision():
    assert workloads.expand(["lstm", "gpt@bf16", "ops"], ["tf32", "fp32"]) == [
        "lstm@tf32", "lstm", "gpt@bf16", "ops",
    ]  # fmt: skip
    assert workloads.expand(["lstm@fp32"], ["bf16"]) == ["lstm"]
    made = workloads.make_workload("mlp-tiny@bf16", True, 0)
    assert (made.name, made.precision) == ("mlp-tiny@bf16", "bf16")
    assert workloads.make_workload("mlp-tiny", True, 0).precision == "fp32"
    assert workloads.make_workload("ops", True, 0) is None


@pytest.mark.parametrize(
    ("names", "precisions", "text"),
    [
        (["lstm@fp8"], ["fp32"], "a precision must be one of 'fp32', 'tf32', 'bf16'"),
        (["lstm"], ["bf61"], "Received: 'bf61'"),
        (["ops@bf16"], ["fp32"], "a workload must be one of"),
        (["compare@bf16"], ["fp32"], "a workload must be one of"),
    ],
)
def test_nonsense_is_refused(names, precisions, text):
    with pytest.raises(OptionError, match=text):
        workloads.expand(names, precisions)


@pytest.mark.parametrize("name", workloads.GROUPS["compare-gpu"])
def test_what_a_gpu_is_bought_for_is_left_to_it(name):
    workload = workloads.make_workload(name, True, 0)

    small = name in ("mlp-tiny", "mlp-digits", "mlp-mnist", "mlp-wide", "lenet-64", "lenet-512",
                     "lstm")  # fmt: skip
    assert workload.takes_part(on_gpu=True)
    assert workload.takes_part(on_gpu=False) == small
    plan = workload.plan
    if plan.alone:  # everybody alone makes as many steps as the others
        assert plan.compute.least == plan.compute.most
        assert plan.end_to_end.least == plan.end_to_end.most


def test_what_is_counted():
    counted = {
        name: (made.unit, made.units(made.plan.batch))
        for name in ("vgg16-b64", "gpt2-124m", "lstm", "mlp-8192")
        for made in [workloads.make_workload(name, True, 0)]
    }
    assert counted == {
        "vgg16-b64": ("images", 64),
        "gpt2-124m": ("tokens", 16 * 1024),
        "lstm": ("sequences", 32),
        "mlp-8192": ("examples", 4096),
    }


def test_gpt2_has_its_124_million_weights():
    (described,) = workloads.make_workload("gpt2-124m", True, 0).layers
    width, blocks = described["width"], described["blocks"]
    block = 12 * width**2 + 13 * width  # products, biases and two norms
    embeddings = (described["vocabulary"] + described["context"]) * width

    assert embeddings + blocks * block + 2 * width == 124_475_904
    with nnlib.nn.init.skip():
        small = layers.build([described | {"blocks": 1}])
    assert sum(p.size for p in small.parameters()) == embeddings + block + 2 * width


@pytest.mark.parametrize(
    "name",
    ["mlp-mnist", *(pytest.param(n, marks=pytest.mark.slow) for n in ("mlp-wide", "mlp-512"))],
)
def test_noise_in_place_of_mnist_is_not_chaotic(name, monkeypatch):
    """Else two libraries, whose last bits differ, would not agree after 300 steps."""
    monkeypatch.setattr(mlp_mnist, "real_images", lambda: None)
    workload = workloads.make_workload(name, quick=True, seed=0)
    losses = []
    for factor in (1.0, 1.0 + 1e-6):
        nnlib.manual_seed(0)
        model = workload.build()
        with nnlib.no_grad():
            for p in model.parameters():
                p *= factor
        step = training_step(model, workload.optimizer.build(model.parameters()))
        batches = endless(workload.train.loader(workload.plan.batch, 0))
        losses.append([step(*next(batches)).item() for _ in range(300)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.02, atol=0.002)
