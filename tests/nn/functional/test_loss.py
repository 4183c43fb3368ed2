import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib.errors import DTypeError, LabelError, OptionError, ShapeError
from nnlib.nn import functional as F


def test_regression_losses_by_hand(backend, place):
    x, t = place([0.0, 0.5, -3.0], requires_grad=True), place([0.0, 0.0, 1.0])
    expected = {
        F.mse_loss: ([0, 0.25, 16], [0, 1, -8]),
        F.l1_loss: ([0, 0.5, 4], [0, 1, -1]),
        F.huber_loss: ([0, 0.125, 3.5], [0, 0.5, -1]),
        F.smooth_l1_loss: ([0, 0.125, 3.5], [0, 0.5, -1]),
    }
    for function, (losses, gradients) in expected.items():
        x.grad = None
        assert function(x, t, reduction="none").tolist() == losses
        assert function(x, t).item() == pytest.approx(np.mean(losses))
        loss = function(x, t, reduction="sum")
        assert loss.item() == pytest.approx(sum(losses))
        loss.backward()
        assert x.grad.tolist() == gradients
    assert F.huber_loss([3.0], [0.0], delta=2.0).item() == 4
    assert F.smooth_l1_loss([3.0], [0.0], beta=2.0).item() == 2
    assert F.smooth_l1_loss([3.0], [0.0], beta=0.0).item() == 3


def test_targets_do_not_change_the_dtype(backend, place):
    x = place([[0.2, 0.7]])
    for target in (place([[0, 1]]), place([[0.0, 1.0]], "float64"), place([[False, True]])):
        for function in (
            F.mse_loss,
            F.l1_loss,
            F.huber_loss,
            F.binary_cross_entropy,
            F.binary_cross_entropy_with_logits,
        ):
            assert function(x, target).dtype == "float32"


def test_binary_cross_entropy_by_hand(backend, place):
    p, t = [0.25, 0.9, 0.5], [0.0, 1.0, 0.5]
    expected = -np.log([0.75, 0.9, 0.5])
    loss = F.binary_cross_entropy(place(p), place(t), reduction="none")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    logits = place(np.log(p) - np.log1p(np.negative(p)), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(logits, place(t), reduction="none")
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    loss.sum().backward()  # σ(x) − t
    np.testing.assert_allclose(logits.grad.numpy(), [0.25, -0.1, 0], atol=1e-6)


@pytest.mark.parametrize("pos_weight", [None, [3.0]])
def test_extreme_logits_are_finite(pos_weight, backend, place):
    x = place([1e4, -1e4, 1e4, -1e4, 0.0], requires_grad=True)
    weight = None if pos_weight is None else place(pos_weight)
    loss = F.binary_cross_entropy_with_logits(
        x, place([0, 0, 1, 1, 1]), pos_weight=weight, reduction="none"
    )
    loss.sum().backward()
    factor = 1 if pos_weight is None else 3
    expected = [1e4, 0, 0, factor * 1e4, factor * np.log(2)]
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)
    assert x.grad.tolist() == [1, 0, 0, -factor, -factor / 2]


def test_certain_probabilities_are_finite(backend, place):
    p = place([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(p, place([0, 0, 1, 1]), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [0, 100, 100, 0]
    assert np.isfinite(p.grad.numpy()).all()


def test_divergence_by_hand(backend, place):
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    exact = 0.5 * np.log(2) + 0.5 * np.log(2 / 3) + np.log(2)
    x = place(np.log(q))
    assert F.kl_div(x, place(p), "sum").item() == pytest.approx(exact)
    assert F.kl_div(x, place(p), "batchmean").item() == pytest.approx(exact / 2)
    assert F.kl_div(x, place(p)).item() == pytest.approx(exact / 4)
    same = F.kl_div(x, x, "none", log_target=True)
    assert same.tolist() == [[0, 0], [0, 0]]


def test_gradients():
    rng = np.random.default_rng(0)
    x = nnlib.tensor(rng.normal(size=(3, 2)), requires_grad=True)
    t = nnlib.tensor(rng.normal(size=(3, 2)), requires_grad=True)
    p = nnlib.tensor(rng.uniform(0.1, 0.9, size=(3, 2)), requires_grad=True)
    q = nnlib.tensor(rng.uniform(0.1, 0.9, size=(3, 2)), requires_grad=True)
    for function in (F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss):
        assert nnlib.gradcheck(function, [x, t])
    assert nnlib.gradcheck(F.binary_cross_entropy, [p, q])
    assert nnlib.gradcheck(F.binary_cross_entropy_with_logits, [x, q])
    assert nnlib.gradcheck(F.kl_div, [x, q])
    weight = nnlib.tensor([0.5, 3.0], dtype="float64")
    assert nnlib.gradcheck(
        lambda x, q: F.binary_cross_entropy_with_logits(x, q, weight, pos_weight=weight), [x, q]
    )


def test_bad_input():
    x = nnlib.ones(3, 1) * 0.5
    for function in (
        F.mse_loss,
        F.l1_loss,
        F.huber_loss,
        F.kl_div,
        F.binary_cross_entropy,
        F.binary_cross_entropy_with_logits,
    ):
        name = function.__name__
        with pytest.raises(ShapeError, match=rf"{name} needs .* one shape.*\(3, 1\) and \(3,\)"):
            function(x, nnlib.ones(3))
        with pytest.raises(DTypeError, match=f"{name} needs floating-point"):
            function([1, 2], [1, 2])
        with pytest.raises(OptionError, match=r"reduction must be one of .*'median'"):
            function(x, x, reduction="median")
    with pytest.raises(ShapeError, match="at least one loss"):
        F.mse_loss(nnlib.ones(0), nnlib.ones(0))
    assert F.mse_loss(nnlib.ones(0), nnlib.ones(0), "sum").item() == 0
    with pytest.raises(OptionError, match="delta must be positive"):
        F.huber_loss(x, x, delta=0.0)


def test_bad_labels():
    for function in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        for bad in (2.0, -1.0, float("nan")):
            with pytest.raises(LabelError, match="binary targets must be in 0 … 1"):
                function([0.5, 0.5], [1.0, bad])
    with pytest.raises(OptionError, match="probabilities must be in 0 … 1"):
        F.binary_cross_entropy([1.5], [1.0])


pairs = st.lists(st.integers(1, 4), min_size=1, max_size=3)
reductions = st.sampled_from(["mean", "sum", "none"])


@pytest.mark.peers
@settings(max_examples=8, deadline=None)
@given(shape=pairs, reduction=reductions, width=st.floats(0.1, 3))
def test_regression_like_torch(check_against_torch, shape, reduction, width):
    from torch.nn import functional as theirs

    rng = np.random.default_rng(sum(shape))
    x, t = rng.normal(size=shape) * 2, rng.normal(size=shape)
    options = [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("huber_loss", {"delta": width}),
        ("smooth_l1_loss", {"beta": width}),
    ]
    for name, extra in options:
        extra = {**extra, "reduction": reduction}
        check_against_torch(
            lambda x, t, name=name, extra=extra: getattr(F, name)(x, t, **extra),
            lambda x, t, name=name, extra=extra: getattr(theirs, name)(x, t, **extra),
            x,
            t,
        )


@pytest.mark.peers
@settings(max_examples=8, deadline=None)
@given(shape=pairs, reduction=reductions, weighted=st.booleans())
def test_binary_like_torch(check_against_torch, shape, reduction, weighted):
    import torch

    rng = np.random.default_rng(sum(shape))
    t, weight = rng.uniform(size=shape), rng.uniform(0.5, 2, size=shape[-1])
    name = "binary_cross_entropy_with_logits"
    ours = {"weight": nnlib.tensor(weight), "pos_weight": nnlib.tensor(weight)} if weighted else {}
    theirs = {key: torch.tensor(weight) for key in ours}
    check_against_torch(
        lambda x: getattr(F, name)(x, nnlib.tensor(t), reduction=reduction, **ours),
        lambda x: getattr(torch.nn.functional, name)(
            x, torch.tensor(t), reduction=reduction, **theirs
        ),
        rng.normal(size=shape) * 10,
    )
    check_against_torch(
        lambda p: F.binary_cross_entropy(p, nnlib.tensor(t), reduction=reduction),
        lambda p: torch.nn.functional.binary_cross_entropy(p, torch.tensor(t), reduction=reduction),
        rng.uniform(0.01, 0.99, size=shape),
    )


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
@settings(max_examples=8, deadline=None)
@given(
    n=st.integers(1, 4),
    reduction=st.sampled_from(["mean", "batchmean", "sum", "none"]),
    log_target=st.booleans(),
)
def test_divergence_like_torch(check_against_torch, n, reduction, log_target):
    import torch

    rng = np.random.default_rng(n)
    target = rng.dirichlet(np.ones(3), size=n)
    target = np.log(target) if log_target else target * (target > 0.2)
    options = {"reduction": reduction, "log_target": log_target}
    check_against_torch(
        lambda x: F.kl_div(x, nnlib.tensor(target), **options),
        lambda x: torch.nn.functional.kl_div(x, torch.tensor(target), **options),
        rng.normal(size=(n, 3)),
    )


@pytest.mark.parametrize("function", [F.mse_loss, F.huber_loss, F.binary_cross_entropy_with_logits])
def test_half_precision_is_computed_in_float32_however_it_is_given(backend, function):
    x, y = nnlib.zeros(100, dtype="float16"), nnlib.zeros(100, dtype="float16")
    x[0] = 300.0  # its square is no float16
    expected = function(x, y)
    assert np.isfinite(expected.item())
    for named in (function(x, target=y), function(input=x, target=y)):
        assert named.dtype == np.float16
        assert named.item() == expected.item()
    wide = function(x, target=nnlib.zeros(100))
    assert wide.dtype == function(x, nnlib.zeros(100)).dtype == np.float32
