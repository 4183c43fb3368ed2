import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import BackendMismatchError, DTypeError, LabelError, OptionError, ShapeError
from nnlib.nn import functional as F


def test_by_hand(backend, place):
    logits = place(np.log([[1.0, 2.0, 5.0], [3.0, 1.0, 4.0]]), requires_grad=True)
    losses = F.cross_entropy(logits, place([2, 0]), reduction="none")
    np.testing.assert_allclose(losses.numpy(), -np.log([5 / 8, 3 / 8]), rtol=1e-6)
    F.cross_entropy(logits, place([2, 0])).backward()  # (softmax − one-hot) / N
    expected = np.array([[1 / 8, 2 / 8, -3 / 8], [-5 / 8, 1 / 8, 4 / 8]]) / 2
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_equal_logits_cost_the_logarithm_of_the_classes(backend, place):
    for classes in (2, 10, 1000):
        loss = F.cross_entropy(place(np.zeros((3, classes))), place([0, 1, 0]))
        assert loss.item() == pytest.approx(np.log(classes), rel=1e-6)


@pytest.mark.parametrize("kind", ["labels", "smoothed", "probabilities", "nll"])
def test_extreme_logits_are_finite(kind, backend, place):
    logits = place([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4 + 1, -1e4]], requires_grad=True)
    labels = place([1, 0, 0])
    if kind == "probabilities":
        loss = F.cross_entropy(logits, place([[0.5, 0.5, 0], [1.0, 0, 0], [0.2, 0.3, 0.5]]))
    elif kind == "nll":
        loss = F.nll_loss(F.log_softmax(logits), labels)
    else:
        smoothing = 0.1 if kind == "smoothed" else 0.0
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()
    assert 1e3 < loss.item() < 1e5
    assert np.isfinite(logits.grad.numpy()).all()
    assert abs(logits.grad.numpy()).max() <= 1


def test_small_differences_of_large_logits_count(backend, place):
    loss = F.cross_entropy(place([[1e4, 1e4 + 1]]), place([0]))
    assert loss.item() == pytest.approx(np.log1p(np.e), rel=1e-5)


def test_sequences_have_their_classes_last(backend, place):
    logits = place(np.random.default_rng(0).normal(size=(2, 3, 4)))
    labels = place([[0, 1, 3], [2, 2, 1]])
    losses = F.cross_entropy(logits, labels, reduction="none")
    assert losses.shape == (2, 3)
    flat = F.cross_entropy(logits.reshape(6, 4), labels.reshape(6), reduction="none")
    assert losses.flatten().tolist() == flat.tolist()
    assert F.cross_entropy(logits[0, 0], labels[0, 0]).item() == pytest.approx(flat[0].item())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_ignored_instances_do_not_count(smoothing, backend, place):
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=(4, 3)), place(rng.uniform(0.5, 2, size=3))
    logits, kept = place(values, requires_grad=True), place(values[[0, 2]], requires_grad=True)
    options = {"label_smoothing": smoothing}
    for index in (-100, -1, 2):
        logits.grad = kept.grad = None
        labels = place([1, index, 0, index])
        loss = F.cross_entropy(logits, labels, weight, ignore_index=index, **options)
        other = F.cross_entropy(kept, place([1, 0]), weight, **options)
        assert loss.item() == pytest.approx(other.item(), rel=1e-5)
        loss.backward()
        other.backward()
        assert logits.grad.numpy()[[1, 3]].tolist() == [[0, 0, 0]] * 2
        np.testing.assert_allclose(logits.grad.numpy()[[0, 2]], kept.grad.numpy(), rtol=1e-5)


def test_all_ignored_is_zero_with_zero_gradient(backend, place):
    logits = place(np.ones((2, 3)), requires_grad=True)
    loss = F.cross_entropy(logits, place([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.numpy().any()


def test_smoothing_is_a_soft_target(backend, place):
    logits = place(np.random.default_rng(0).normal(size=(3, 4)))
    labels = place([0, 3, 1])
    shares = np.eye(4)[[0, 3, 1]] * 0.7 + 0.3 / 4
    a = F.cross_entropy(logits, labels, label_smoothing=0.3)
    b = F.cross_entropy(logits, place(shares))
    c = F.cross_entropy(logits, F.one_hot(labels, 4, "float32"), label_smoothing=0.3)
    assert a.item() == pytest.approx(b.item(), rel=1e-6)
    assert a.item() == pytest.approx(c.item(), rel=1e-6)


def test_kinds_of_labels(backend, place):
    logits = place(np.random.default_rng(0).normal(size=(2, 3)))
    expected = F.cross_entropy(logits, place([2, 0])).item()
    for dtype in ("uint8", "int32", "uint64"):
        assert F.cross_entropy(logits, place([2, 0], dtype)).item() == pytest.approx(expected)
    assert F.cross_entropy(logits, [2, 0]).item() == pytest.approx(expected)
    assert F.cross_entropy(logits, [2, 0], ignore_index=None).item() == pytest.approx(expected)


def test_gradients():
    rng = np.random.default_rng(0)
    x = nnlib.tensor(rng.normal(size=(3, 4)), requires_grad=True)
    weight = nnlib.tensor(rng.uniform(0.5, 2, size=4))
    shares = nnlib.tensor(rng.dirichlet(np.ones(4), size=3), requires_grad=True)
    labels = [1, 3, -100]
    assert nnlib.gradcheck(lambda x: F.cross_entropy(x, labels, weight), [x])
    assert nnlib.gradcheck(lambda x: F.cross_entropy(x, labels, weight, label_smoothing=0.1), [x])
    assert nnlib.gradcheck(lambda x, t: F.cross_entropy(x, t, weight), [x, shares])
    assert nnlib.gradcheck(lambda x: F.nll_loss(x, labels, weight, reduction="none"), [x])


@pytest.mark.parametrize("function", [F.cross_entropy, F.nll_loss])
def test_bad_labels(function):
    logits = nnlib.ones(2, 3)
    for label in (3, -1, 99):
        with pytest.raises(LabelError, match=rf"must be in 0 … 2. Received: .*{label}"):
            function(logits, [0, label])
    with pytest.raises(LabelError, match="-100"):
        function(logits, [0, -100], ignore_index=None)
    with pytest.raises(DTypeError, match=r"integer class labels. Received: float32 \(2,\)"):
        function(logits, [0.0, 1.0])
    with pytest.raises(DTypeError, match=r"integer class labels. Received: bool"):
        function(logits, [True, False])
    with pytest.raises(ShapeError, match=r"labels of shape \(2,\) for logits \(2, 3\).*\(2, 1\)"):
        function(logits, [[0], [1]])
    with pytest.raises(ShapeError, match=r"int64 \(2, 3\)"):
        function(logits, [[0, 0, 1], [1, 0, 0]])  # one-hot must be floats
    with pytest.raises(ShapeError, match="on the last axis"):
        function(nnlib.tensor(1.0), 0)
    with pytest.raises(ShapeError, match=r"at least one loss. Received: shape \(0,\)"):
        function(nnlib.ones(0, 3), nnlib.zeros(0, dtype="int64"))
    with pytest.raises(ShapeError, match=r"weight of the classes must have shape \(3,\)"):
        function(logits, [0, 1], [1.0, 1.0])
    with pytest.raises(DTypeError, match=r"needs floating-point values. Received: int64"):
        function([[1, 2]], [0])
    with pytest.raises(OptionError, match=r"'mean', 'sum', 'none'.*'avg'"):
        function(logits, [0, 1], reduction="avg")
    with pytest.raises(BackendMismatchError, match=r"'numpy'.*'strict'|'strict'.*'numpy'"):
        function(logits, nnlib.zeros(2, dtype="int64", backend="strict"))


def test_bad_smoothing():
    with pytest.raises(OptionError, match=r"label_smoothing must be in \[0, 1\]. Received: 1.5"):
        F.cross_entropy(nnlib.ones(1, 2), [0], label_smoothing=1.5)


reductions = st.sampled_from(["mean", "sum", "none"])


@pytest.mark.peers
@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), max_size=3),
    classes=st.integers(1, 5),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=reductions,
    data=st.data(),
)
def test_like_torch(check_against_torch, shape, classes, weighted, smoothing, reduction, data):
    import torch

    rng = np.random.default_rng(sum(shape) + classes)
    labels = rng.integers(0, classes, size=shape)
    if labels.size > 1 and data.draw(st.booleans()):
        labels.reshape(-1)[1] = -100
    weight = rng.uniform(0.5, 2, size=classes)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    check_against_torch(
        lambda x: F.cross_entropy(
            x, nnlib.tensor(labels), nnlib.tensor(weight) if weighted else None, **options
        ),
        lambda x: torch.nn.functional.cross_entropy(
            x.movedim(-1, 1) if x.ndim > 1 else x,
            torch.tensor(labels),
            torch.tensor(weight) if weighted else None,
            **options,
        ),
        rng.normal(size=(*shape, classes)) * 5,
    )


@pytest.mark.peers
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 4),
    classes=st.integers(1, 5),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1]),
    reduction=reductions,
)
def test_probabilities_like_torch(check_against_torch, n, classes, weighted, smoothing, reduction):
    import torch

    rng = np.random.default_rng(n + classes)
    weight = rng.uniform(0.5, 2, size=classes)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    check_against_torch(
        lambda x, t: F.cross_entropy(x, t, nnlib.tensor(weight) if weighted else None, **options),
        lambda x, t: torch.nn.functional.cross_entropy(
            x, t, torch.tensor(weight) if weighted else None, **options
        ),
        rng.normal(size=(n, classes)),
        rng.dirichlet(np.ones(classes), size=n),
    )


@pytest.mark.peers
@settings(max_examples=10, deadline=None)
@given(n=st.integers(1, 4), classes=st.integers(1, 5), reduction=reductions)
def test_nll_like_torch(check_against_torch, n, classes, reduction):
    import torch

    rng = np.random.default_rng(n + classes)
    labels, weight = rng.integers(0, classes, size=n), rng.uniform(0.5, 2, size=classes)
    check_against_torch(
        lambda x: F.nll_loss(x, nnlib.tensor(labels), nnlib.tensor(weight), reduction=reduction),
        lambda x: torch.nn.functional.nll_loss(
            x, torch.tensor(labels), torch.tensor(weight), reduction=reduction
        ),
        rng.normal(size=(n, classes)),
    )
