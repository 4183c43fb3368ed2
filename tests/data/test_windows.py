import numpy as np
import pytest

import nnlib
from nnlib.data import DataLoader, TextWindows
from nnlib.errors import DataError, DTypeError, OptionError
from nnlib.models import GPT

TOKENS = np.arange(100) % 7


def test_targets_are_one_further():
    windows = TextWindows(TOKENS, 8)
    assert len(windows) == 92
    x, y = windows[np.array([0, 50, 91])]
    for row, start in enumerate((0, 50, 91)):
        np.testing.assert_array_equal(x[row], TOKENS[start : start + 8])
        np.testing.assert_array_equal(y[row], TOKENS[start + 1 : start + 9])
    assert [part.shape for part in windows[3]] == [(8,), (8,)]


@pytest.mark.parametrize("count", [97, 96, 95])
def test_side_by_side_every_token_is_a_target_once(count):
    tokens = np.arange(count)
    _, y = TextWindows(tokens, 8, stride=8)[:]
    np.testing.assert_array_equal(y.ravel(), np.arange(1, len(y) * 8 + 1))
    assert count - y.max() <= 8  # what is left makes no whole window


def test_loader_gives_windows_at_random_places():
    nnlib.manual_seed(3)
    loader = DataLoader(TextWindows(TOKENS, 5), 4, shuffle=True, batches_per_epoch=6)
    starts = [x.numpy() for x, y in loader]
    assert len(starts) == 6
    assert {x.shape for x in starts} == {(4, 5)}
    assert len(np.unique(np.concatenate(starts), axis=0)) > 3


def test_trainer_takes_them(backend):
    model = GPT(vocab_size=7, context=8, layers=1, heads=1, width=8)
    optimizer = nnlib.optim.AdamW(model.parameters(), lr=0.02)
    trainer = nnlib.Trainer(model, "cross_entropy", optimizer, ["accuracy"], progress=False)
    loader = DataLoader(TextWindows(TOKENS, 8), 16, shuffle=True, batches_per_epoch=30)
    history = trainer.fit(loader, val=TextWindows(TOKENS, 8, stride=8))
    assert history["val_loss"][-1] < 0.8 * np.log(7)
    assert history["val_accuracy"][-1] > 1.5 / 7
    x, y = TextWindows(TOKENS, 8, stride=8)[:]
    logits = trainer.predict(x)
    by_hand = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, y[..., None], 2)[..., 0]
    assert history["val_loss"][-1] == pytest.approx(by_hand.mean(), rel=1e-5)


def test_errors():
    for options in ({"context": 0}, {"context": 3, "stride": 0}):
        with pytest.raises(OptionError, match="at least 1"):
            TextWindows(TOKENS, **options)
    for wrong in (np.ones(9), np.ones((3, 3), int), "text", [1, 2, 3]):
        with pytest.raises(DTypeError, match="integers on one axis"):
            TextWindows(wrong, 2)
    with pytest.raises(DataError, match="at least 101"):
        TextWindows(TOKENS, 100)
    assert len(TextWindows(TOKENS, 99)) == 1
