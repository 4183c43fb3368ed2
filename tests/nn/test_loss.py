import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F

X = np.array([[0.2, -1.3, 2.0], [0.1, 0.4, -0.6]], "float32")
P = np.array([[0.2, 0.3, 0.5], [0.9, 0.1, 0.0]], "float32")


@pytest.mark.parametrize(
    ("layer", "function", "target"),
    [
        (nn.MSELoss(), lambda x, t: F.mse_loss(x, t), P),
        (nn.MSELoss("sum"), lambda x, t: F.mse_loss(x, t, "sum"), P),
        (nn.L1Loss("none"), lambda x, t: F.l1_loss(x, t, "none"), P),
        (nn.HuberLoss(delta=0.3), lambda x, t: F.huber_loss(x, t, delta=0.3), P),
        (nn.SmoothL1Loss(beta=0.3), lambda x, t: F.smooth_l1_loss(x, t, beta=0.3), P),
        (nn.KLDivLoss("batchmean"), lambda x, t: F.kl_div(x, t, "batchmean"), P),
        (nn.KLDivLoss("sum", True), lambda x, t: F.kl_div(x, t, "sum", log_target=True), X),
        (
            nn.BCEWithLogitsLoss([1.0, 2.0, 3.0], "sum", pos_weight=[2.0]),
            lambda x, t: F.binary_cross_entropy_with_logits(
                x, t, [1.0, 2.0, 3.0], reduction="sum", pos_weight=[2.0]
            ),
            P,
        ),
        (
            nn.CrossEntropyLoss([1.0, 2.0, 3.0], 0, "sum", 0.1),
            lambda x, t: F.cross_entropy(
                x, t, [1.0, 2.0, 3.0], ignore_index=0, reduction="sum", label_smoothing=0.1
            ),
            np.array([0, 2]),
        ),
        (nn.CrossEntropyLoss(), lambda x, t: F.cross_entropy(x, t), np.array([1, -100])),
        (
            nn.NLLLoss([1.0, 2.0, 3.0], 1, "none"),
            lambda x, t: F.nll_loss(x, t, [1.0, 2.0, 3.0], ignore_index=1, reduction="none"),
            np.array([1, 2]),
        ),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_layers_are_their_functions(layer, function, target):
    assert layer(nnlib.tensor(X), target).tolist() == function(nnlib.tensor(X), target).tolist()


def test_bce_of_probabilities():
    loss = nn.BCELoss([1.0, 2.0, 0.5], "sum")(P, np.array([[0, 0, 1], [1, 0, 0]]))
    terms = -np.log([[0.8, 0.7, 0.5], [0.9, 0.9, 1.0]])
    assert loss.item() == pytest.approx((terms * [1, 2, 0.5]).sum(), rel=1e-6)


def test_class_weights_move_with_the_loss():
    loss = nn.CrossEntropyLoss(weight=[1.0, 2.0, 3.0]).to("strict")
    assert loss.weight.backend.name == "strict"
    assert list(loss.state_dict()) == ["weight"]
    assert list(loss.parameters()) == []
    x = nnlib.tensor(X, backend="strict")
    assert loss(x, nnlib.tensor([0, 1], backend="strict")).item() > 0


def test_three_heads_are_stable_from_logits(backend, place):
    """L11: identity + MSE, sigmoid + binary cross-entropy, softmax + cross-entropy."""
    values = [[1e4, -1e4], [-1e4, 1e4], [0.0, 0.0]]
    heads = {
        nn.MSELoss(): place(np.zeros((3, 2))),
        nn.BCEWithLogitsLoss(): place([[0, 1], [0, 1], [1, 0]]),
        nn.CrossEntropyLoss(): place([1, 1, 0]),
    }
    for head, target in heads.items():
        logits = place(values, requires_grad=True)
        loss = head(logits, target)
        loss.backward()
        assert np.isfinite(loss.item())
        assert np.isfinite(logits.grad.numpy()).all()


def test_repr():
    assert repr(nn.MSELoss()) == "MSELoss(reduction='mean')"
    assert repr(nn.HuberLoss("sum", 2.0)) == "HuberLoss(reduction='sum', delta=2.0)"
    assert repr(nn.SmoothL1Loss()) == "SmoothL1Loss(reduction='mean', beta=1.0)"


def test_bad_options_show_when_the_loss_is_made():
    for loss in (nn.MSELoss, nn.L1Loss, nn.BCELoss):
        with pytest.raises(OptionError, match="reduction must be one of"):
            loss(reduction="batchmean")
    with pytest.raises(OptionError, match="'batchmean'"):
        nn.KLDivLoss("median")
    with pytest.raises(OptionError, match="label_smoothing"):
        nn.CrossEntropyLoss(label_smoothing=-0.1)
    with pytest.raises(ShapeError, match=r"\[in CrossEntropyLoss\]"):
        nn.CrossEntropyLoss()(X, np.array([[0], [1]]))


def test_a_training_step_reads_nothing_from_the_device():
    import strict_backend

    with nnlib.use_backend("strict"):
        net = nn.Sequential(
            nn.Embedding(10, 6),
            nn.Conv1d(6, 4, 3, padding="same"),
            nn.BatchNorm1d(4, momentum=None),
            nn.GELU(),
            nn.Unflatten(1, (2, 4)),
            nn.Conv2d(4, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.LayerNorm(16),
            nn.Dropout(0.3),
            nn.Linear(16, 3),
        )
        x, labels = nnlib.tensor([[1, 2, 3, 4, 5, 6, 7, 8]] * 4), nnlib.tensor([0, 1, 2, -100])
        criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        criterion(net(x), labels)
        with strict_backend.counting() as counts:
            criterion(net(x), labels).backward()
    assert (counts.reads, counts.transfers) == (0, 0), counts.where
    assert all(p.grad is not None for p in net.parameters())
