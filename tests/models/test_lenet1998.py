import numpy as np
import pytest

import nnlib
from nnlib.errors import OptionError, ShapeError
from nnlib.models.lenet1998 import (
    CONNECTIONS,
    DistanceToDrawings,
    Pixels,
    ScaledTanh,
    TableConv2d,
    TrainablePool,
)


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def here(array):
    return nnlib.tensor(array, backend=nnlib.get_backend())


def test_the_table_is_as_the_paper_describes_it():
    """The first six see neighbouring maps by threes, the next six by fours, then some not
    neighbouring, and one all."""
    assert [len(row) for row in CONNECTIONS] == 6 * [3] + 9 * [4] + [6]
    assert len(set(CONNECTIONS)) == 16

    def neighbours(row):
        return any({(i + k) % 6 for k in range(len(row))} == set(row) for i in range(6))

    assert [neighbours(row) for row in CONNECTIONS] == 12 * [True] + 3 * [False] + [True]
    seen = [sum(m in row for row in CONNECTIONS) for m in range(6)]
    assert seen == 6 * [10], "no map of S2 is preferred"


def test_a_table_convolution_map_by_map(backend):
    """Each output map is an ordinary convolution of the maps that the table names."""
    x, layer = images(2, 9, 8, 6), TableConv2d(CONNECTIONS, 6, 5)
    result = layer(here(x)).numpy()
    start = 0
    for k, row in enumerate(CONNECTIONS):
        own = layer.weight.numpy()[start : start + len(row)].transpose(1, 2, 0)[None]
        start += len(row)
        expected = nnlib.nn.functional.conv2d(
            nnlib.tensor(x[..., list(row)]), nnlib.tensor(np.ascontiguousarray(own))
        ).numpy()[..., 0]
        np.testing.assert_allclose(
            result[..., k], expected + layer.bias.numpy()[k], rtol=1e-4, atol=1e-5
        )


def test_gradients_of_a_table_convolution():
    layer = TableConv2d([(0, 2), (1,)], 3, 2).astype("float64")
    x = nnlib.tensor(images(2, 3, 4, 3).astype(float), requires_grad=True)
    layer.placement.data = layer.placement.data.astype("float64")
    assert nnlib.gradcheck(lambda x, w, b: layer(x), [x, layer.weight, layer.bias])


def test_a_new_table_convolution_keeps_the_variance():
    y = TableConv2d(CONNECTIONS, 6, 5)(nnlib.tensor(images(8, 20, 20, 6))).numpy()
    assert y.std() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("row", [(0, 3), (-1,), (1, 1)])
def test_bad_tables(row):
    with pytest.raises(OptionError, match=r"different maps of 0 … 2. Received: \["):
        TableConv2d([(0, 1), row], 3, 5)


def test_trainable_pooling(backend):
    layer = TrainablePool(3)
    layer.load_state_dict(
        {"weight": np.array([1.0, -2.0, 0.5]), "bias": np.array([0.0, 1.0, 10.0])}
    )
    x = images(2, 4, 6, 3)
    sums = x.reshape(2, 2, 2, 3, 2, 3).sum(axis=(2, 4))
    np.testing.assert_allclose(
        layer(here(x)).numpy(), sums * [1, -2, 0.5] + [0, 1, 10], rtol=1e-5, atol=1e-5
    )


def test_scaled_tanh(backend):
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    expected = 1.7159 * np.tanh(2 / 3 * x)
    np.testing.assert_allclose(ScaledTanh()(here(x)).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_pixels(backend):
    result = Pixels(2)(nnlib.ones(1, 3, 4, 2)).numpy()
    assert result.shape == (1, 7, 8, 2)
    np.testing.assert_allclose(result[:, 2:5, 2:6], 1.175, rtol=1e-6)
    assert np.isclose(result, -0.1).sum() == result.size - 24


def test_distances(backend):
    layer, x = DistanceToDrawings(), images(5, 84)
    drawings = layer.drawings.numpy()
    expected = -((x[:, None] - drawings) ** 2).sum(axis=2)
    np.testing.assert_allclose(layer(here(x)).numpy(), expected, rtol=1e-5, atol=1e-4)


def test_drawings_differ_and_are_not_trained():
    layer = DistanceToDrawings()
    drawings = layer.drawings.numpy()
    assert drawings.shape == (10, 84)
    assert set(np.unique(drawings)) == {-1, 1}
    cells_apart = (drawings[:, None] != drawings).sum(axis=2) + 84 * np.eye(10)
    assert cells_apart.min() >= 8
    assert not list(layer.parameters())
    assert not layer.state_dict(), "what never changes need not be saved"


@pytest.mark.parametrize("classes", [0, 11])
def test_there_are_ten_drawings(classes):
    with pytest.raises(OptionError, match=rf"num_classes must be in 1 … 10. Received: {classes}"):
        DistanceToDrawings(classes)


def test_other_features():
    with pytest.raises(ShapeError, match=r"must be \(N, 84\). Received: float32 \(2, 83\)"):
        DistanceToDrawings()(nnlib.ones(2, 83))
