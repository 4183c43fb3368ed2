import numpy as np
import pytest
import strict_backend

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError, StateError
from nnlib.train import (
    Accuracy,
    BinaryAccuracy,
    ErrorRate,
    FunctionMetric,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
    Within,
    get_metric,
)
from nnlib.train.metrics import unique_names

rng = np.random.default_rng(1)
SCORES = rng.normal(size=(10, 6)).astype(np.float32)
LABELS = rng.integers(0, 6, 10)
VALUES = rng.normal(size=(10, 3)).astype(np.float32)
TARGETS = rng.normal(size=(10, 3)).astype(np.float32)
BITS = (TARGETS > 0).astype(np.float32)
RANKS = (SCORES[np.arange(10), LABELS][:, None] < SCORES).sum(1)

CASES = {
    "accuracy": (SCORES, LABELS, (SCORES.argmax(1) == LABELS).mean()),
    "error_rate": (SCORES, LABELS, (SCORES.argmax(1) != LABELS).mean()),
    "top3": (SCORES, LABELS, (RANKS < 3).mean()),
    "top5": (SCORES, LABELS, (RANKS < 5).mean()),
    "binary_accuracy": (VALUES, BITS, ((VALUES > 0) == (BITS > 0.5)).mean()),
    "mse": (VALUES, TARGETS, ((VALUES - TARGETS).astype(np.float64) ** 2).mean()),
    "mae": (VALUES, TARGETS, np.abs(VALUES - TARGETS).astype(np.float64).mean()),
    "within0.5": (VALUES, TARGETS, (np.abs(VALUES - TARGETS) < 0.5).mean()),
}


@pytest.mark.parametrize("name", CASES)
def test_mean_over_unequal_batches_is_the_mean_over_all(backend, name):
    output, target, expected = CASES[name]
    metric = get_metric(name)
    for rows in (slice(0, 7), slice(7, 10)):
        metric.update(
            nnlib.tensor(output[rows], backend=backend), nnlib.tensor(target[rows], backend=backend)
        )
    assert metric.compute() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_update_reads_nothing(name):
    output, target, _ = CASES[name]
    output, target = nnlib.tensor(output, backend="strict"), nnlib.tensor(target, backend="strict")
    metric = get_metric(name)
    with strict_backend.counting() as counts:
        for _ in range(3):
            metric.update(output, target)
        metric.result()
    assert (counts.reads, counts.transfers) == (0, 0), counts.where


def test_labels_may_be_sequences_and_probabilities():
    scores = rng.normal(size=(2, 5, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (2, 5))
    expected = (scores.argmax(-1) == labels).mean()
    for target in (labels, np.eye(3, dtype=np.float32)[labels]):
        metric = Accuracy()
        metric.update(nnlib.tensor(scores), nnlib.tensor(target))
        assert metric.compute() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["accuracy", "error_rate", "top3"])
def test_ignored_labels_do_not_count(backend, name):
    scores, labels = rng.normal(size=(8, 5, 6)).astype(np.float32), rng.integers(0, 6, (8, 5))
    whole = get_metric(name)
    whole.update(nnlib.tensor(scores[:, :2]), nnlib.tensor(labels[:, :2]))
    for index in (-100, 6, 0):
        kept = labels[:, :2].copy()
        masked = np.concatenate([kept, np.full((8, 3), index)], axis=1)
        metric = get_metric(name)
        metric.ignore_index = index
        for rows in (slice(0, 7), slice(7, 8)):
            metric.update(nnlib.tensor(scores[rows]), nnlib.tensor(masked[rows]))
        if index != 0:
            assert metric.compute() == pytest.approx(whole.compute())
        assert metric.compute() == pytest.approx(_expected(name, scores, masked, index))
    metric.reset()
    metric.update(nnlib.tensor(scores), nnlib.tensor(np.zeros((8, 5), np.int64)))
    assert metric.compute() == 0


def _expected(name, scores, labels, index):
    scores, labels = scores[labels != index], labels[labels != index]
    ranks = (scores[np.arange(len(labels)), labels][:, None] < scores).sum(1)
    return {"accuracy": ranks < 1, "error_rate": ranks >= 1, "top3": ranks < 3}[name].mean()


def test_probabilities_as_targets_have_no_ignored_label():
    metric = TopKAccuracy(1, ignore_index=2)
    metric.update(nnlib.tensor([[0.0, 1.0, 3.0]]), nnlib.tensor([[0.1, 0.1, 0.8]]))
    assert metric.compute() == 1.0


def test_the_trainer_takes_what_is_ignored_from_the_loss():
    model = nn.Linear(2, 3)
    optimizer = nnlib.optim.SGD(model.parameters())
    own, free = Accuracy(ignore_index=1), TopKAccuracy(1)
    trainer = nnlib.Trainer(
        model, nn.CrossEntropyLoss(ignore_index=0), optimizer, ["error_rate", own, free]
    )
    assert [metric.ignore_index for metric in trainer.metrics] == [0, 1, 0]
    assert free.ignore_index is None  # it may serve another trainer, too


def test_many_updates_lose_no_precision():
    metric = MeanSquaredError()
    output, target = nnlib.tensor(np.full(1000, 0.1, np.float32)), nnlib.zeros(1000)
    for _ in range(3000):
        metric.update(output, target)
    assert metric.compute() == pytest.approx(np.float32(0.1) ** 2, rel=1e-6)


def test_nan_is_never_right():
    scores = nnlib.tensor(np.full((4, 6), np.nan, np.float32))
    for metric in (TopKAccuracy(5),):
        metric.update(scores, nnlib.tensor([0, 1, 2, 3]))
        assert metric.compute() == 0


def test_state_continues():
    output, target, expected = CASES["mse"]
    first, second = MeanSquaredError(), MeanSquaredError()
    first.update(nnlib.tensor(output[:4]), nnlib.tensor(target[:4]))
    second.load_state_dict(first.state_dict())
    assert second.compute() == first.compute()
    second.update(nnlib.tensor(output[4:]), nnlib.tensor(target[4:]))
    assert second.compute() == pytest.approx(expected)


def test_reset_forgets():
    metric = get_metric("mae")
    metric.update(nnlib.ones(3), nnlib.zeros(3))
    metric.reset()
    with pytest.raises(StateError, match="at least one example"):
        metric.compute()


def test_function_and_class_become_metrics():
    def bias(output, target):
        return (output - target).mean()

    metric = get_metric(bias)
    for rows in (slice(0, 7), slice(7, 10)):
        metric.update(nnlib.tensor(VALUES[rows]), nnlib.tensor(TARGETS[rows]))
    assert metric.name == "bias"
    assert metric.compute() == pytest.approx((VALUES - TARGETS).mean(), rel=1e-5)
    assert FunctionMetric(nn.MSELoss()).name == "MSELoss"
    assert FunctionMetric(bias, name="b", higher_is_better=True).higher_is_better


def test_threshold_for_probabilities():
    metric = BinaryAccuracy(threshold=0.5)
    metric.update(nnlib.tensor([0.4, 0.6]), nnlib.tensor([0.0, 1.0]))
    assert metric.compute() == 1


@pytest.mark.parametrize(
    ("metric", "output", "target", "message"),
    [
        (Accuracy(), np.zeros((4, 1), np.float32), np.zeros(4, np.int64), "binary_accuracy"),
        (ErrorRate(), np.zeros((4, 3), np.float32), np.zeros((4, 1), np.int64), r"integers \(4,\)"),
        (MeanSquaredError(), np.zeros((4, 1), np.float32), np.zeros(4, np.float32), "one shape"),
        (MeanAbsoluteError(), np.zeros(4, np.float32), np.zeros(3, np.float32), "one shape"),
    ],
)
def test_shapes_that_do_not_fit(metric, output, target, message):
    with pytest.raises(ShapeError, match=message):
        metric.update(nnlib.tensor(output), nnlib.tensor(target))


def test_function_metric_must_give_one_value():
    with pytest.raises(ShapeError, match="one value"):
        FunctionMetric(lambda output, target: output).update(nnlib.ones(3), nnlib.ones(3))


def test_top_k_needs_more_classes():
    with pytest.raises(OptionError, match="more than 5 classes"):
        TopKAccuracy(5).update(nnlib.zeros(2, 5), nnlib.tensor([0, 1]))


def test_tolerance():
    for name, expected in (("within.04", 0.04), ("within2", 2), ("within1.50", 1.5)):
        metric = get_metric(name)
        assert (metric.tolerance, metric.name) == (expected, f"within{expected}")
    assert repr(Within(0.04)) == "Within(0.04)"
    metric.update(nnlib.tensor([0.0, np.nan, 1.5]), nnlib.zeros(3))
    assert metric.compute() == pytest.approx(1 / 3)  # below it, and a number
    for wrong in (0, -1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match="positive"):
            Within(wrong)
    for name in ("within", "within0", "within-1", "withinx"):
        with pytest.raises(OptionError):
            get_metric(name)
    with pytest.raises(ShapeError, match="one shape"):
        Within(1.0).update(nnlib.zeros(3, 1), nnlib.zeros(3))


def test_misspelt_name_gets_a_hint():
    with pytest.raises(OptionError, match="Did you mean 'accuracy'"):
        get_metric("acuracy")
    with pytest.raises(DTypeError, match="parentheses"):
        get_metric(Accuracy)
    with pytest.raises(DTypeError, match="a name"):
        get_metric(3)
    with pytest.raises(OptionError, match="k must be"):
        TopKAccuracy(0)


def test_names_must_differ():
    with pytest.raises(OptionError, match="'accuracy'"):
        unique_names([Accuracy(), Accuracy()])
    with pytest.raises(OptionError, match="'loss'"):
        unique_names([FunctionMetric(lambda o, t: o, name="loss")])


def test_own_metric_needs_total_only():
    class Largest(Metric):
        name = "largest"

        def total(self, output, target):
            return nnlib.max(output) * target.size

    metric = Largest()
    metric.update(nnlib.tensor([1.0, 3.0]), nnlib.tensor([0, 0]))
    assert metric.compute() == 3
