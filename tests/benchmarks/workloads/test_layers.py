"""The description of a model must be the model."""

import numpy as np
import pytest

import nnlib
from nnlib_benchmarks import flops
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


def test_an_lstm_hands_on_its_last_output():
    model = layers.build([layers.lstm(3, 5)])
    x = nnlib.ones(2, 7, 3)

    expected, _ = model[0].lstm(x)

    np.testing.assert_array_equal(model(x).numpy(), expected.numpy()[:, -1])


def test_an_lstm_multiplies_inputs_and_states_at_every_step():
    described = [layers.lstm(3, 5), layers.linear(5, 4)]

    forward = layers.operations(described, (7, 3), batch=2)

    assert forward == [2 * 2 * 7 * 3 * 20, 2 * 2 * 7 * 5 * 20, 2 * 2 * 5 * 4]


def test_a_gpt_needs_two_operations_a_weight_and_token_and_its_attention():
    described = layers.gpt(vocabulary=11, context=6, blocks=3, heads=2, width=8)
    model = layers.build([described])
    products = [p.size for n, p in model.named_parameters() if len(p.shape) == 2 and "wpe" not in n]

    first, *rest = layers.operations([described], (6,), batch=5)

    assert first == 0  # the embedding; its gradient is no product
    assert sum(rest) == 2 * 5 * 6 * sum(products) + 3 * flops.causal_attention(5, 6, 8)
