import math

import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError
from nnlib.models import VGG
from nnlib.nn import init

PUBLISHED = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
PUBLISHED_WITH_BATCH_NORM = {
    11: 132_868_840,
    13: 133_053_736,
    16: 138_365_992,
    19: 143_678_248,
}  # torchvision's vgg*_bn


@pytest.fixture
def blank():
    """Models made in this test are zeros, which take no time and no memory."""
    with init.skip():
        yield


def count(model):
    return sum(p.size for p in model.parameters())


@pytest.fixture
def few_hidden(monkeypatch):
    """Models made in this test have small hidden layers, which else take most of the time."""
    monkeypatch.setattr("nnlib.models.vgg.HIDDEN", 64)


def small(**options):
    """A VGG-11 whose classifier sees one cell."""
    return VGG(11, num_classes=10, image_size=32, **options)


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_parameter_counts(blank, depth):
    assert count(VGG(depth)) == PUBLISHED[depth]


@pytest.mark.parametrize("depth", PUBLISHED)
def test_published_parameter_counts_with_batch_norm(blank, depth):
    assert count(VGG(depth, batch_norm=True)) == PUBLISHED_WITH_BATCH_NORM[depth]


@pytest.mark.parametrize("depth", PUBLISHED)
def test_depth_counts_layers_with_weights(blank, depth):
    modules = list(VGG(depth).modules())
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in modules) == depth
    assert sum(isinstance(m, nn.MaxPool2d) for m in modules) == 5


def test_initial_values():
    model = small()
    first, last = model.features[0], model.features[-3]
    assert isinstance(last, nn.Conv2d)
    for conv in (first, last):
        std = math.sqrt(2 / (9 * conv.weight.shape[0]))  # fan_out
        assert conv.weight.numpy().std() == pytest.approx(std, rel=0.05)
        assert not conv.bias.numpy().any()
    linear = model.classifier[1]
    assert linear.weight.numpy().std() == pytest.approx(0.01, rel=0.01)
    assert not linear.bias.numpy().any()


@pytest.mark.usefixtures("few_hidden")
def test_seed_decides_initial_values():
    nnlib.manual_seed(3)
    first = small().features[0].weight.numpy()
    nnlib.manual_seed(3)
    assert (small().features[0].weight.numpy() == first).all()


@pytest.mark.usefixtures("few_hidden")
def test_logits_and_gradients(backend):
    model = small(batch_norm=True)
    y = model(nnlib.rand(2, 32, 32, 3))
    assert y.shape == (2, 10)
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.usefixtures("few_hidden")
def test_signal_neither_dies_nor_explodes():
    """He's initialisation keeps the values' size through the convolutions."""
    model = small()
    x = nnlib.randn(4, 32, 32, 3)
    with nnlib.no_grad():
        size = model.features(x).numpy().std()
    assert 0.03 < size < 30  # 0.006 with the default initialisation of Conv2d


@pytest.mark.parametrize(("size", "cells"), [(32, 1), (63, 1), (64, 4), (224, 49), (256, 64)])
def test_image_size_decides_the_classifier(blank, size, cells):
    model = VGG(11, image_size=size)
    assert model.classifier[1].in_features == 512 * cells
    assert model.input_shape == (size, size, 3)


def test_other_image_sizes_are_pooled(blank):
    model = VGG(11, num_classes=10, image_size=64)
    for size in (32, 64, 96):
        assert model(nnlib.zeros(1, size, size, 3)).shape == (1, 10)


def test_in_channels(blank):
    assert VGG(11, in_channels=1).features[0].weight.shape == (64, 3, 3, 1)


@pytest.mark.parametrize("depth", [0, 12, "16"])
def test_bad_depth(depth):
    with pytest.raises(OptionError, match="depth must be one of 11, 13, 16, 19"):
        VGG(depth)


def test_bad_image_size():
    with pytest.raises(OptionError, match=r"32 or more.*Received: 31"):
        VGG(image_size=31)


@pytest.mark.peers
@pytest.mark.parametrize("batch_norm", [False, True])
def test_agrees_with_pytorch(batch_norm):
    torch = pytest.importorskip("torch")
    model = small(batch_norm=batch_norm).eval()
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3), dtype=np.float32)
    expected = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    for module in [*model.features, *model.classifier]:
        expected = _in_torch(torch, module, expected)
    result = model(nnlib.tensor(x)).numpy()
    assert result == pytest.approx(expected.numpy(), abs=2e-5 * float(abs(result).max()))


def _in_torch(torch, module, x):
    f = torch.nn.functional
    weights = [torch.from_numpy(p.numpy()) for p in module.parameters()]
    match type(module).__name__:
        case "Conv2d":
            return f.conv2d(x, weights[0].permute(0, 3, 1, 2), weights[1], padding=1)
        case "BatchNorm2d":
            channels = x.shape[1]
            return f.batch_norm(x, torch.zeros(channels), torch.ones(channels), *weights)
        case "ReLU":
            return f.relu(x)
        case "MaxPool2d":
            return f.max_pool2d(x, 2)
        case "Flatten":
            return x.flatten(1)  # one cell: the order of the axes does not matter
        case "Linear":
            return f.linear(x, *weights)
        case "Dropout":
            return x
