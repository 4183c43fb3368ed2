"""The description of a model must be the model."""

import pytest

import nnlib
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.vgg16 import vgg_layers


def test_vgg16_has_the_published_number_of_multiply_adds():
    forward = layers.operations(vgg_layers(), (224, 224, 3), batch=1)

    assert sum(forward) / 2 == pytest.approx(15.47e9, rel=1e-3)
    assert len(forward) == 16
    assert sum(layers.operations(vgg_layers(), (224, 224, 3), 4)) == 4 * sum(forward)


def test_every_kind_of_layer_can_be_built():
    described = [
        layers.conv(2, 3, 3, padding=1, stride=2),
        layers.activation("sigmoid"),
        layers.pool("avgpool"),
        layers.conv(3, 4, 1),
        layers.pool("maxpool"),
        layers.FLATTEN,
        *layers.mlp((4 * 2 * 1, 5, 2), "tanh"),
    ]

    model = layers.build(described)

    assert model(nnlib.zeros(6, 16, 9, 2)).shape == (6, 2)  # 16×9 → 8×5 → 4×2 → 2×1
    assert [len(p.shape) for p in model.parameters()] == [4, 1, 4, 1, 2, 1, 2, 1]
