from functools import partial

import numpy as np
import pytest
import strict_backend
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn, optim
from nnlib.data import ArrayDataset, DataLoader
from nnlib.nn import functional as F
from nnlib.train import FunctionMetric, Trainer
from nnlib.train.shares import Shares

ROWS, LENGTH, CLASSES = 7, 3, 4
REDUCTIONS = ("mean", "sum")
WEIGHT = np.array([0.2, 1.0, 3.0, 0.0])


class Inner(nn.Module):
    """A loss that takes what it needs out of the model's outputs."""

    def __init__(self):
        super().__init__()
        self.loss = nn.CrossEntropyLoss(ignore_index=1)

    def forward(self, output, target):
        return self.loss(2 * output, target)


def pair(output, target):
    """A loss of one's own that says what it is the mean over."""
    kept = nnlib.ops.not_equal(target, 2)
    losses = nnlib.where(kept, nnlib.sum(output * output, axis=-1), 0.0)
    count = nnlib.sum(kept)
    return nnlib.sum(losses) / nnlib.where(count > 0, count, 1), count


LABELS = {
    **{
        f"cross_entropy {weight is not None} {index} {reduction} {smoothing}": nn.CrossEntropyLoss(
            weight, index, reduction, smoothing
        )
        for weight in (None, WEIGHT)
        for index in (-100, 0, None)
        for reduction in REDUCTIONS
        for smoothing in (0.0, 0.1)
    },
    **{
        f"nll {weight is not None} {index} {reduction}": nn.NLLLoss(weight, index, reduction)
        for weight in (None, WEIGHT)
        for index in (-100, 0)
        for reduction in REDUCTIONS
    },
    "by name": "cross_entropy",
    "function": F.nll_loss,
    "partial": partial(F.cross_entropy, ignore_index=3),
    "lambda": lambda o, t: F.cross_entropy(o, t, WEIGHT, ignore_index=3),
    "module": Inner(),
    "pair": pair,
}
VALUES = {
    f"{kind.__name__} {reduction}": kind(reduction=reduction)
    for kind in (
        nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss,
        nn.BCEWithLogitsLoss, nn.CrossEntropyLoss, nn.KLDivLoss,
    )
    for reduction in (*REDUCTIONS, "batchmean")
    if reduction in kind.reductions
}  # fmt: skip
VALUES |= {
    "BCE": lambda o, t: nn.BCELoss(WEIGHT)(nnlib.sigmoid(o), t),
    "weighted BCE": nn.BCEWithLogitsLoss(WEIGHT, pos_weight=WEIGHT),
    "own": lambda o, t: nnlib.mean(o * t),
}
METRICS = {
    "labels": lambda: [
        "accuracy", "error_rate", "top2",
        FunctionMetric(nn.CrossEntropyLoss(WEIGHT), "nll"),
        FunctionMetric(pair, "pair"),
    ],
    "values": lambda: ["mse", "mae", "within0.5", "binary_accuracy", FunctionMetric(F.mse_loss)],
}  # fmt: skip


def make_trainer(loss, metrics=(), **options):
    nnlib.manual_seed(1)
    model = nn.Linear(5, CLASSES).astype("float64")
    optimizer = optim.SGD(model.parameters(), lr=0.5)
    return Trainer(model, loss, optimizer, metrics, progress=False, **options)


@st.composite
def problems(draw):
    """A loss, and data for it of which often little or nothing counts."""
    kind = draw(st.sampled_from(["labels", "values"]))
    losses = {"labels": LABELS, "values": VALUES}[kind]
    name = draw(st.sampled_from(sorted(losses)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.normal(size=(ROWS, LENGTH, 5))
    if kind == "values":
        y = rng.uniform(0.1, 1, (ROWS, LENGTH, CLASSES))
        return kind, losses[name], x, y / y.sum(-1, keepdims=True)
    y = rng.integers(0, CLASSES, (ROWS, LENGTH))
    index = draw(st.sampled_from([-100, 0, 1, 2, 3]))
    if getattr(losses[name], "ignore_index", -100) is None or name in ("partial", "lambda", "pair"):
        index = max(index, 0)  # those know no other labels than classes
    elif index == -100 and name in ("module",):
        index = 1
    elif index == -100:
        index = getattr(losses[name], "ignore_index", -100)
    y[rng.random((ROWS, LENGTH)) < draw(st.sampled_from([0, 0.5, 0.9]))] = index
    y[: draw(st.integers(0, ROWS))] = index
    return kind, losses[name], x, y


@settings(max_examples=25, deadline=None)
@given(problems(), st.integers(1, ROWS), st.booleans())
def test_evaluation_does_not_depend_on_the_batch_size(problem, size, compile):
    kind, loss, x, y = problem
    trainer = make_trainer(loss, METRICS[kind](), compile=compile)
    whole = trainer.evaluate((x, y), batch_size=ROWS)
    parts = trainer.evaluate((x, y), batch_size=size)
    direct = trainer.loss(trainer.model(nnlib.tensor(x)), nnlib.tensor(y))
    direct = direct[0] if isinstance(direct, tuple) else direct
    assert whole["loss"] == pytest.approx(float(direct), rel=1e-12)
    assert parts == pytest.approx(whole, rel=1e-6, abs=1e-12)
    assert np.isfinite(list(whole.values())).all()


@settings(max_examples=12, deadline=None)
@given(problems(), st.integers(1, 3), st.integers(2, 4), st.booleans())
def test_accumulated_batches_are_one_larger_batch(problem, size, accumulate, compile):
    kind, loss, x, y = problem
    runs = []
    for rows, k in ((size * accumulate, 1), (size, accumulate)):
        trainer = make_trainer(loss, METRICS[kind](), compile=compile, accumulate=k)
        history = trainer.fit(DataLoader(ArrayDataset(x, y), rows), epochs=2)
        numbers = [[epoch[n] for n in history.names() if n != "seconds"] for epoch in history]
        weights = np.concatenate([p.numpy().ravel() for p in trainer.model.parameters()])
        runs.append((weights, history.step_losses, numbers))
    for larger, accumulated in zip(*runs, strict=True):
        np.testing.assert_allclose(accumulated, larger, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("precision", [None, "fp16"])
def test_a_step_is_the_same_compiled(backend, precision):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6, 5)), rng.integers(0, CLASSES, (8, 6))
    y[1:6, 2:] = -100
    weights = []
    for compile in (False, True):
        nnlib.manual_seed(1)
        model = nn.Linear(5, CLASSES)
        optimizer = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        trainer = Trainer(
            model, nn.CrossEntropyLoss(WEIGHT), optimizer, ["accuracy"], compile=compile,
            accumulate=3, clip_norm=1.0, log_every=None, precision=precision, nan_stop=False,
            progress=False,
        )  # fmt: skip
        trainer.fit(DataLoader(ArrayDataset(x, y), 1), epochs=4)
        weights.append(model.weight.numpy())
    np.testing.assert_array_equal(*weights)


def test_a_step_reads_nothing():
    with nnlib.use_backend("strict"):
        model = nn.Linear(5, CLASSES)
        trainer = Trainer(
            model, "cross_entropy", optim.SGD(model.parameters()), ["accuracy"], clip_norm=1.0
        )
        x, y = nnlib.ones(2, 6, 5), nnlib.tensor(np.full((2, 6), -100))
        with strict_backend.counting() as counts:
            results = trainer.compute_gradients([(x, y), (x, y)])
            trainer.apply_gradients()
        assert (counts.reads, counts.transfers) == (0, 0), counts.where
        assert all(float(count) == 0 for _, count, _ in results)
        assert not model.weight.grad.numpy().any()


def test_gradients_are_left_alone_where_every_example_counts_as_much():
    w = nnlib.tensor([2.0], requires_grad=True)
    shares = Shares([nnlib.zeros(4, 3), nnlib.zeros(2, 3)])
    for size in (4, 2):
        shares.of(w.mean(), 3 * size).backward()
    w.grad.data.flags.writeable = False
    shares.settle([w])
    assert w.grad.item() == pytest.approx(1)
