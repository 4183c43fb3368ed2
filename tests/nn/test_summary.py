import json

import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.models import MLP, VGG, LeNet5
from nnlib.nn import init
from nnlib.nn.summary import summary


def row(table, name):
    return next(r for r in table.rows if r.name == name)


def test_course_network(backend):
    """L4 and L13: 13 parameters, and every matrix's dimensions for 10 instances."""
    table = summary(MLP((2, 3, 1), "tanh"), input_shape=(2,), batch=10)
    assert table.parameters == table.trainable_parameters == 13
    assert table.input_shape == (10, 2)
    first, act, second = (row(table, f"layers.{n}") for n in ("linear1", "activation1", "linear2"))
    assert first.weight_shapes == {"weight": (3, 2), "bias": (3,)}
    assert first.output_shape == act.output_shape == second.input_shape == (10, 3)
    assert second.weight_shapes == {"weight": (1, 3), "bias": (1,)}
    assert second.output_shape == (10, 1)
    assert (first.parameters, act.parameters, second.parameters) == (9, 0, 4)


def test_flops_and_bytes_by_hand():
    table = summary(MLP((2, 3, 1), "tanh"), batch=10)
    assert table.flops == 2 * 10 * (2 * 3 + 3 * 1)
    assert table.flops_complete
    assert table.activation_bytes == 4 * 10 * (3 + 3 + 1)  # z[1], a[1], z[2]; flatten is a view
    assert table.parameter_bytes == 4 * 13


def test_flops_of_sequences_and_lookups():
    net = nn.Sequential(nn.Conv1d(2, 6, 3), nn.Identity())
    assert summary(net, (5, 2), batch=4).rows[0].flops == 2 * (4 * 3 * 6) * (3 * 2)
    table = summary(nn.Embedding(10, 3), (7,), dtype="int64")
    assert (table.flops, table.flops_complete) == (0, True)


def test_convolution_flops():
    table = summary(nn.Sequential(nn.Conv2d(4, 6, (3, 5), stride=2, groups=2)), (9, 11, 4), batch=3)
    (conv,) = table.rows
    assert conv.output_shape == (3, 4, 4, 6)
    assert conv.flops == 2 * (3 * 4 * 4 * 6) * (3 * 5 * 2)


def test_lenet_layers():
    table = summary(LeNet5())
    shapes = {r.name.rpartition(".")[2]: r.output_shape for r in table.rows}
    assert shapes["c1"] == (1, 28, 28, 6)
    assert shapes["s2"] == (1, 14, 14, 6)
    assert shapes["c3"] == (1, 10, 10, 16)
    assert shapes["s4"] == (1, 5, 5, 16)
    assert shapes["flatten"] == (1, 400)
    assert shapes["output"] == (1, 10)
    assert table.parameters == 61706


@pytest.mark.slow
def test_vgg16_has_the_published_figures():
    """15.47 G multiply-adds an image; 138 M parameters."""
    with init.skip():
        table = summary(VGG(16), batch=64)
    assert table.parameters == 138_357_544
    assert table.flops / 64 == pytest.approx(2 * 15.47e9, rel=1e-3)
    assert row(table, "features.0").output_shape == (64, 224, 224, 64)


def test_large_batches_are_not_computed():
    """The batch of the table is extrapolated: this one would not fit into any memory."""
    table = summary(LeNet5(), batch=10**9)
    assert row(table, "features.c1").output_shape == (10**9, 28, 28, 6)


def test_only_the_batch_axis_grows():
    class Positions(nn.Module):
        """(N, T, D) → (T, D): a result without a batch."""

        def forward(self, x):
            return x.sum(axis=0)

    class Merge(nn.Module):
        def forward(self, x):
            return x.reshape(-1, x.shape[-1])

    table = summary(Positions(), (4, 5), batch=10)
    assert table.rows[0].output_shape == (4, 5)
    assert summary(Merge(), (4, 5), batch=10).rows[0].output_shape == (40, 5)


def test_shared_layer_is_counted_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            return self.layer(self.layer(x))

    table = summary(Twice(), (3,))
    assert [r.parameters for r in table.rows] == [12, 0]
    assert table.parameters == 12
    assert table.flops == 2 * 2 * 9


def test_frozen_parameters():
    model = MLP((2, 3, 1))
    model.layers.linear1.requires_grad_(False)
    table = summary(model)
    assert table.trainable_parameters == 4
    assert "9 of them are frozen" in str(table)


def test_unknown_arithmetic_is_not_hidden():
    class Own(nn.Module):
        input_shape = (2,)

        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter([[1.0, 2.0], [3.0, 4.0]])

        def forward(self, x):
            return x @ self.matrix

    table = summary(nn.Sequential(Own(), nn.Linear(2, 1)), (2,))
    assert table.rows[0].flops is None
    assert not table.flops_complete
    assert "> 4" in str(table).splitlines()[-3]


def test_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[2].eval()
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    summary(model, (2,), batch=4)
    assert [m.training for m in model.modules()] == [True, True, True, False]
    assert all((value.numpy() == before[n]).all() for n, value in model.state_dict().items())
    assert not any(m._hooks for m in model.modules())


def test_hooks_are_removed_after_an_error():
    model = MLP((2, 3, 1))
    with pytest.raises(ShapeError, match="in_features = 2"):
        summary(model, (5,))
    assert not any(m._hooks for m in model.modules())
    assert model.training


def test_dtype_of_the_input():
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 2))
    table = summary(model, (3,), batch=5, dtype="int64")
    assert table.dtype == "int64"
    assert table.rows[0].output_shape == (5, 3, 4)


def test_json_is_plain():
    table = summary(MLP((2, 3, 1)))
    assert json.loads(json.dumps(table.to_dict()))["parameters"] == 13


def test_table_has_a_line_a_layer():
    table = summary(LeNet5())
    text = str(table)
    assert repr(table) == text
    assert all(r.name in text for r in table.rows)
    assert "61,706" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("─")}) == 1


@pytest.mark.parametrize("shape", [None, (2.0,), (-1,), ("2",)])
def test_input_shape_must_be_known(shape):
    with pytest.raises(OptionError, match="input_shape must be the shape of one sample"):
        summary(nn.Linear(2, 1), shape)


@pytest.mark.parametrize("batch", [0, -1, 1.5])
def test_batch_must_be_positive(batch):
    with pytest.raises(OptionError, match="batch must be a positive integer"):
        summary(MLP((2, 1)), batch=batch)


def test_public_name():
    assert nnlib.summary is summary
