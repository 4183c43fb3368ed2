import numpy as np
import pytest

import nnlib
from nnlib import data
from nnlib.errors import OptionError
from nnlib.models import SequenceRegressor
from nnlib.models.charrnn import CELLS


@pytest.mark.parametrize("cell", CELLS)
def test_answers_after_the_last_step_of_each_sequence(backend, cell):
    model = SequenceRegressor(2, outputs=3, width=5, layers=2, cell=cell)
    x = np.random.default_rng(0).standard_normal((3, 6, 2)).astype(np.float32)
    lengths = [6, 2, 4]
    together = model(nnlib.tensor(x), nnlib.tensor(lengths)).numpy()
    assert together.shape == (3, 3)
    for row, length in enumerate(lengths):
        alone = model(nnlib.tensor(x[row : row + 1, :length])).numpy()
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)


def test_gates_start_where_they_are_told():
    model = SequenceRegressor(2, width=3, layers=2, input_bias=-2.0, forget_bias=5.0)
    for layer in (0, 1):
        state = model.recurrent.state_dict()
        total = (state[f"bias_ih_l{layer}"] + state[f"bias_hh_l{layer}"]).numpy()
        np.testing.assert_array_equal(total[:6], [-2, -2, -2, 5, 5, 5])
        assert np.abs(total[6:]).max() < 2


def test_a_gru_that_keeps_its_state():
    model = SequenceRegressor(2, width=3, cell="gru", forget_bias=30.0)
    state = model.recurrent(nnlib.randn(2, 5, 2), nnlib.ones(1, 2, 3))[1]
    np.testing.assert_allclose(state.numpy(), 1)


def test_a_dropped_state_is_no_answer():
    model = SequenceRegressor(1, width=4, dropout=1.0)
    x = nnlib.ones(2, 3, 1)
    bias = model.output.bias.numpy()
    assert (model(x).numpy() == bias).all()
    assert (model.eval()(x).numpy() != bias).all()


def test_arguments_are_checked():
    with pytest.raises(OptionError, match="cell"):
        SequenceRegressor(2, cell="elman")
    with pytest.raises(OptionError, match="'gru' has no input_bias"):
        SequenceRegressor(2, cell="gru", input_bias=-1.0)
    with pytest.raises(OptionError, match="'rnn' has no forget_bias"):
        SequenceRegressor(2, cell="rnn", forget_bias=1.0)


def train_on_short_sums(compile, dropout=0.0):
    """Two recurrent layers on sequences of different lengths, by the trainer."""
    nnlib.manual_seed(0)
    train, test = data.adding_problem(192, 20, seed=0), data.adding_problem(64, 20, seed=1)
    model = SequenceRegressor(2, width=8, layers=2, dropout=dropout)
    optimizer = nnlib.optim.Adam(model.parameters(), lr=1e-2)
    trainer = nnlib.Trainer(
        model, "mse", optimizer, metrics=["within0.2"], clip_norm=1.0, compile=compile
    )
    return trainer, trainer.fit(train, val=test, epochs=2, batch_size=32)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_compiled_training_with_lengths_and_dropout_is_the_same_to_the_bit(dropout):
    runs = [train_on_short_sums(compile, dropout) for compile in (True, False)]
    (compiled, history), (plain, other) = runs
    assert history.step_losses == other.step_losses
    assert history["val_within0.2"] == other["val_within0.2"]
    for p, q in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_trains_where_arrays_are_not_numpys():
    with nnlib.use_backend("strict"):
        _, history = train_on_short_sums(compile=True)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.slow
def test_lstm_solves_the_adding_problem():
    """With the recipe of the published comparison, on sequences half as long."""
    nnlib.manual_seed(0)
    train, test = data.adding_problem(40_000, 50, seed=0), data.adding_problem(2560, 50, seed=1)
    model = SequenceRegressor(2, width=16, input_bias=-2.0, forget_bias=5.0)
    optimizer = nnlib.optim.Adam(model.parameters(), lr=1e-2)
    schedule = nnlib.optim.schedules.CosineAnnealingLR(optimizer, T_max=2000)
    trainer = nnlib.Trainer(
        model, "mse", optimizer, metrics=["within0.04"], clip_norm=1.0,
        schedule=schedule, schedule_every="step",
    )  # fmt: skip
    trainer.fit(train, epochs=1, batch_size=20)
    assert trainer.evaluate(test, batch_size=256)["within0.04"] > 0.99
