import numpy as np
import pytest

import nnlib
from nnlib import data
from nnlib.train import Callback


def test_a_run_after_an_interrupted_one_sees_every_example(points, make_trainer):
    x, _ = points
    seen, places = [], []

    class Look(Callback):
        def on_epoch_begin(self, trainer):
            places.append(trainer.loader.state_dict())

        def on_step_end(self, trainer):
            seen.extend(trainer.last_batch[1].tolist())
            if trainer.step == 2 and self.stop:
                self.stop = False
                raise KeyboardInterrupt

        stop = True

    loader = data.DataLoader(data.ArrayDataset(x, np.arange(50)), 10, shuffle=True)
    trainer = make_trainer(callbacks=[Look()], loss=lambda o, t: nnlib.mean(o * o), metrics=[])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(loader)
    assert len(seen) == 20
    seen.clear()
    trainer.fit(loader)
    assert sorted(seen) == list(range(50))
    assert [(place["epoch"], place["batch"]) for place in places] == [(0, 0), (1, 0)]


def test_evaluation_in_the_middle_of_an_epoch_disturbs_nothing(points, make_trainer, weights):
    class Evaluate(Callback):
        def on_step_end(self, trainer):
            trainer.evaluate(points)

    plain, watched = make_trainer(seed=5), make_trainer(seed=5, callbacks=[Evaluate()])
    histories = [trainer.fit(points, epochs=2, batch_size=16) for trainer in (plain, watched)]
    np.testing.assert_array_equal(weights(plain), weights(watched))
    for name in ("loss", "accuracy"):
        assert histories[0][name] == histories[1][name]


def test_time_is_that_of_training_and_validation_apart(points, make_trainer):
    history = make_trainer().fit(points, val=points, epochs=1)
    assert 0 < history["seconds"][0] < 10
    assert 0 < history["val_seconds"][0] < 10
