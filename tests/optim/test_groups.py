import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import DTypeError, OptionError
from nnlib.optim import param_groups, schedules

OPTIMIZERS = {
    "sgd": lambda groups: optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True),
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "rmsprop": lambda groups: optim.RMSprop(groups, momentum=0.5),
    "adagrad": optim.Adagrad,
}


def network():
    return nn.Sequential(
        {
            "features": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()),
            "head": nn.Linear(8, 3),
        }
    )


def test_the_first_pattern_that_matches_takes_a_parameter():
    net = network()
    groups = param_groups(
        net, {"*.bias": {"lr": 0.1, "weight_decay": 0.0}, "features.*": 1e-4, "*": 1e-3}
    )
    biases = [net.features[0].bias, net.features[2].bias, net.head.bias]
    assert [group.pop("params") for group in groups] == [
        biases, [net.features[0].weight, net.features[2].weight], [net.head.weight]
    ]  # fmt: skip
    assert groups == [{"lr": 0.1, "weight_decay": 0.0}, {"lr": 1e-4}, {"lr": 1e-3}]


def test_a_last_pattern_that_takes_the_rest_may_find_none():
    assert len(param_groups(network(), {"features.*": 1, "head.*": 2, "*": 3})) == 2


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_two_would(backend, name, compiled):
    """A group is one update in one buffer, and does what an optimizer of its own does."""
    x, y = nnlib.randn(6, 4), nnlib.tensor(np.arange(6) % 3)
    nets = [network(), network()]
    nets[1].load_state_dict(nets[0].state_dict())
    rates = {"features.*": 1e-2, "*": 1e-1}
    make = OPTIMIZERS[name]
    whole = [make(param_groups(nets[0], rates))]
    parts = [make([group]) for group in param_groups(nets[1], rates)]
    assert [len(flats) for flats in whole[0]._flats] == [1, 1]
    for net, optimizers in zip(nets, (whole, parts), strict=True):

        def step(x, y, net=net, optimizers=optimizers):
            for optimizer in optimizers:
                optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            for optimizer in optimizers:
                optimizer.step()

        step = nnlib.compile(step) if compiled else step
        for _ in range(4):
            step(x, y)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


SCHEDULES = {
    "step": lambda o: schedules.StepLR(o, step_size=2, gamma=0.1),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, T_max=7),
    "linear": lambda o: schedules.LinearLR(o, start_factor=0.1, total_iters=4),
    "one cycle": lambda o: schedules.OneCycleLR(o, max_lr=[1e-2, 1e-1], total_steps=7),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_scale_the_rate_of_each_group(name):
    optimizer = optim.SGD(param_groups(network(), {"features.*": 1e-2, "*": 1e-1}), lr=1.0)
    schedule = SCHEDULES[name](optimizer)
    seen = set()
    for _ in range(6):
        slow, fast = (group["lr"] for group in optimizer.param_groups)
        assert fast == pytest.approx(10 * slow)
        seen.add(fast)
        schedule.step()
    assert len(seen) > 2


def test_frozen_parameters_join_when_they_are_unfrozen():
    net = network()
    nn.freeze(net, "features.*")
    optimizer = optim.Adam(param_groups(net, {"features.*": 1e-3, "*": 1e-2}))
    x, y = nnlib.randn(6, 4), nnlib.tensor(np.arange(6) % 3)
    for expected in (False, True):
        before = net.features[0].weight.numpy()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        assert (net.features[0].weight.numpy() != before).any() == expected
        nn.unfreeze(net)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"feature.*": 1, "*": 2}, OptionError, r"Received: 'feature\.\*'. Did you mean 'features"),
        ({"features.*": 1}, OptionError, "which leave out head.weight, head.bias"),
        ({}, OptionError, "Received: none, which leave out features.0.weight"),
        ([("*", 1)], DTypeError, "options must be a mapping.*Received: list"),
    ],
)
def test_slips(options, error, message):
    with pytest.raises(error, match=message):
        param_groups(network(), options)


def test_an_unknown_option_is_the_optimizers_to_refuse():
    with pytest.raises(OptionError, match="SGD has the options"):
        optim.SGD(param_groups(network(), {"*": {"momentums": 1}}), lr=0.1)
