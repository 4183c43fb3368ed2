import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import OptionError
from nnlib.nn.inference import inference

STATISTICS = ["running_mean", "running_var", "num_batches_tracked"]


def network():
    return nn.Sequential(
        {
            "features": nn.Sequential(
                nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.GlobalAvgPool(), nn.Dropout()
            ),
            "head": nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)),
        }
    )


def values(net):
    return {name: value.numpy() for name, value in net.state_dict().items()}


def train(net, optimizer, steps=3, compiled=True):
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step = nnlib.compile(step) if compiled else step
    for _ in range(steps):
        step(nnlib.randn(6, 7, 7, 2) + 3, nnlib.tensor(np.arange(6) % 3))


def changed(net, before):
    return {name for name, value in values(net).items() if (value != before[name]).any()}


def test_names_that_are_returned():
    net = network()
    expected = [f"features.{n}" for n in ("0.weight", "0.bias", "1.weight", "1.bias")]
    statistics = [f"features.1.{n}" for n in STATISTICS]
    assert nn.freeze(net, "features.*") == expected + statistics
    trained = [name for name, p in net.named_parameters() if p.requires_grad]
    assert trained == [f"head.{n}" for n in ("0.weight", "0.bias", "1.weight", "1.bias",
                                             "2.weight", "2.bias")]  # fmt: skip
    assert nn.unfreeze(net, "features.0.*", "features.1.bias") == [
        "features.0.weight", "features.0.bias", "features.1.bias"
    ]  # fmt: skip


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
    ],
)
def test_what_is_frozen_does_not_change_and_the_rest_does(backend, make, compiled):
    net = network()
    optimizer = make(net.parameters())
    train(net, optimizer, compiled=compiled)  # so that there is momentum
    frozen = nn.freeze(net, "features.*")
    before = values(net)
    net.train()
    train(net, optimizer, compiled=compiled)
    assert changed(net, before) == set(before) - set(frozen)
    nn.unfreeze(net, "features.*")
    train(net, optimizer, compiled=compiled)
    assert changed(net, before) == set(before)


def test_a_frozen_network_computes_what_it_did(backend):
    """Batch normalisation by its own statistics, whatever the batch is, in training too."""
    net = network().features[:4]
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(nnlib.randn(6, 7, 7, 2)).sum().backward()
        optimizer.step()
    nn.freeze(net)
    x = 5 * nnlib.randn(3, 7, 7, 2)
    expected = net.eval()(x).numpy()
    np.testing.assert_array_equal(net.train()(x).numpy(), expected)
    with inference(net):
        pass
    assert not net[1].training, "inference() leaves it as it was"
    nn.unfreeze(net)
    assert net[1].training
    assert (net(x).numpy() != expected).any()


def test_statistics_go_on_if_only_parameters_are_frozen():
    net = network()
    frozen = nn.freeze(net, "features.*.weight", "features.*.bias")
    before = values(net)
    train(net, optim.SGD(net.parameters(), lr=0.1))
    assert not any("running" in name for name in frozen)
    assert changed(net, before) == set(before) - set(frozen)


def test_unfreezing_in_evaluation_does_not_switch_to_training():
    net = network().eval()
    nn.freeze(net)
    nn.unfreeze(net)
    assert not net.features[1].training
    assert net.train().features[1].training


def test_dropout_goes_on():
    net = network()
    nn.freeze(net)
    net.train()
    assert net.features[4].training


def test_gradients_are_dropped_and_no_longer_computed():
    net = network()
    net(nnlib.randn(2, 7, 7, 2)).sum().backward()
    nn.freeze(net, "features.*")
    assert all(p.grad is None for p in net.features.parameters())
    net.zero_grad()
    net(nnlib.randn(2, 7, 7, 2)).sum().backward()
    assert all(p.grad is None for p in net.features.parameters())
    assert all(p.grad is not None for p in net.head.parameters())


@pytest.mark.parametrize("change", [nn.freeze, nn.unfreeze])
def test_a_slip_is_an_error_and_changes_nothing(change):
    net = network()
    with pytest.raises(OptionError, match=r"Received: 'hed\.\*'. Did you mean 'head\.\*'"):
        change(net, "features.*", "hed.*")
    assert all(p.requires_grad for p in net.parameters())
    assert not net.features[1].frozen
