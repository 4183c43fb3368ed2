import numpy as np
import pytest

import nnlib
from nnlib import data, nn, optim
from nnlib.errors import NonFiniteError, OptionError
from nnlib.train import NaNStop
from nnlib.train.nonfinite import describe_values, is_finite

# NumPy's own warning about what these tests provoke
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Root(nn.Module):
    """Square root of what is positive; its derivative at 0 is infinite."""

    def forward(self, x):
        return nnlib.sqrt(nnlib.relu(x))


def network(layer):
    return nn.Sequential(nn.Linear(4, 8), layer, nn.Linear(8, 3))


def error_of(trainer, *args, **options):
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(*args, **options)
    return str(caught.value)


@pytest.mark.parametrize("log_every", [1, 2, 50, None])
def test_first_output_is_found_however_late_the_loss_is_read(
    points, make_trainer, weights, log_every
):
    trainer = make_trainer(model=network(Apply(nnlib.log)), log_every=log_every)
    before = weights(trainer)
    text = error_of(trainer, points, epochs=2, batch_size=10)
    assert "the loss was nan at step 1 (epoch 1)" in text
    assert "It began in step 1" in text
    assert "the first output that is not finite is that of layer '1' (Apply)" in text
    assert "NaN and 0 infinite of 80 values" in text
    assert "array 0: float32 (10, 4)" in text
    assert "array 1: int64 (10,): 0 … 2" in text
    assert "learning rate" in text
    np.testing.assert_array_equal(weights(trainer), before)


def test_first_gradient_is_found(backend, points, make_trainer, weights):
    trainer = make_trainer(model=network(Root()))
    text = error_of(trainer, points, epochs=2, batch_size=10)
    assert "It began in step 1" in text
    assert "the gradient by the input of layer '1' (Root), made by that layer," in text
    assert np.all(np.isfinite(weights(trainer)))


def test_divergence_is_found_at_its_step(points, make_trainer, weights):
    trainer = make_trainer(
        model=nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)),
        loss="mse",
        metrics=[],
        lr=50.0,
        optimizer=optim.SGD,
    )
    x, y = points
    text = error_of(trainer, (x, y[:, None].astype(np.float32)), epochs=20, batch_size=10)
    step = int(text.partition("It began in step ")[2].partition(":")[0])
    assert 1 < step <= int(text.partition(" at step ")[2].partition(" ")[0])
    assert np.all(np.isfinite(weights(trainer)))


def test_nan_in_the_data_is_reported_as_such(points, make_trainer):
    x, y = points
    x = x.copy()
    x[33, 2] = np.nan
    text = error_of(make_trainer(), (x, y), epochs=3, batch_size=10)
    assert "the data of this batch hold values that are not finite" in text
    assert "array 0: float32 (10, 4): 1 NaN and 0 infinite of 40 values, first in row" in text
    assert "leave out or replace" in text


def test_what_does_not_happen_again(points, make_trainer):
    values = iter([1.0, float("nan")] + [1.0] * 100)
    trainer = make_trainer(
        loss=lambda output, target: (output * next(values)).mean(), compile=False
    )
    text = error_of(trainer, points, batch_size=10)
    assert "the loss was nan at step 2" in text
    assert "not deterministic" in text


def test_nan_in_the_data_is_found_in_a_list_of_batches_and_in_accumulation(points, make_trainer):
    x, y = points
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 50, 10)]
    batches[3] = (np.full_like(x[:10], np.inf), y[:10])
    text = error_of(make_trainer(accumulate=2), batches, epochs=2)
    assert "It began in step 2" in text
    assert "0 NaN and 40 infinite of 40 values, first in row 0" in text


def test_batch_statistics_are_not_spoilt(points, make_trainer, weights):
    x, y = points
    x = x.copy()
    x[-1] = np.nan
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    trainer = make_trainer(model=model)
    order = data.DataLoader(data.ArrayDataset(x, y), 10)
    text = error_of(trainer, order)
    assert "It began in step 5" in text
    assert np.all(np.isfinite(weights(trainer)))


def test_batch_statistics_are_as_before(points, make_trainer, weights):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), Apply(nnlib.log), nn.Linear(8, 3))
    trainer = make_trainer(model=model)
    before = weights(trainer)
    assert "layer '2' (Apply)" in error_of(trainer, points)
    np.testing.assert_array_equal(weights(trainer), before)


def test_loss_of_finite_outputs(points, make_trainer):
    trainer = make_trainer(loss=lambda output, target: nnlib.log(output * 0 - 1).mean())
    text = error_of(trainer, points)
    assert "the loss of outputs that are finite" in text


def test_without_a_copy_the_last_batch_is_looked_at(points, make_trainer):
    stop = NaNStop(copy_limit=0)
    trainer = make_trainer(model=network(Apply(nnlib.log)), callbacks=[stop])
    text = error_of(trainer, points, batch_size=10)
    assert "In the last batch: parameter '0.weight' is not finite already" in text
    text = error_of(
        make_trainer(model=network(Apply(nnlib.log)), callbacks=[stop], log_every=1),
        [points],
    )
    assert "In the last batch" in text


def test_a_last_step_that_spoils_the_model_is_noticed_in_validation(points, make_trainer):
    trainer = make_trainer(model=network(Root()))
    text = error_of(trainer, [points], val=[points])
    assert "val_loss was nan after epoch 1" in text
    assert "layer '1' (Root)" in text


def test_nan_in_validation_data(points, make_trainer):
    x, y = points
    bad = x.copy()
    bad[40] = np.nan
    text = error_of(make_trainer(), points, val=(bad, y))
    assert "val_loss was nan after epoch 1" in text
    assert "Batch 2 of the validation data hold values that are not finite" in text
    assert "np.isfinite" in text


def test_it_can_be_switched_off(points, make_trainer):
    trainer = make_trainer(model=network(Apply(nnlib.log)), nan_stop=False)
    history = trainer.fit(points, epochs=2)
    assert np.all(np.isnan(history["loss"]))


def test_layers_have_their_paths(points, make_trainer):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(Apply(nnlib.log))

        def forward(self, x):
            return self.inner(x)

    text = error_of(make_trainer(model=Block()), points)
    assert "layer 'inner.1' (Apply)" in text


def test_hooks_are_removed(points, make_trainer):
    trainer = make_trainer(model=network(Apply(nnlib.log)))
    error_of(trainer, points)
    assert all(not module._hooks for module in trainer.model.modules())


def test_words():
    assert describe_values(nnlib.tensor([3, 4])) == "int64 (2,): 3 … 4"
    assert describe_values(nnlib.zeros(0)) == "float32 (0,): none"
    assert describe_values(nnlib.tensor([float("inf")])).endswith(
        "1 values, first in row 0; the others none"
    )
    assert is_finite(nnlib.tensor([1, 2]))
    with pytest.raises(OptionError, match="copy_limit"):
        NaNStop(-1)
