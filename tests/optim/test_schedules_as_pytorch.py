import math

import pytest

import nnlib
from nnlib import optim
from nnlib.optim import schedules

pytestmark = pytest.mark.peers

PEERS = [
    ("LambdaLR", {"lr_lambda": lambda step: 0.95**step}),
    ("StepLR", {"step_size": 3}),
    ("MultiStepLR", {"milestones": [2, 5, 5, 11], "gamma": 0.3}),
    ("ExponentialLR", {"gamma": 0.8}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.01, "end_factor": 0.5, "total_iters": 7}),
    ("CosineAnnealingLR", {"T_max": 19, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 6}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 20}),
    ("OneCycleLR", {"max_lr": [0.3, 3.0], "epochs": 4, "steps_per_epoch": 5, "pct_start": 0.4}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "anneal_strategy": "linear"}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "three_phase": True, "div_factor": 5.0}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 20, "pct_start": 0.0, "final_div_factor": 10.0}),
]


@pytest.fixture
def pair():
    """The same optimizer here and there: two groups, with the rates 1 and 0.5."""
    torch = pytest.importorskip("torch")
    result = []
    for library, optimizers in ((nnlib, optim), (torch, torch.optim)):
        a, b = (library.zeros(1, requires_grad=True) for _ in range(2))
        groups = [{"params": [a]}, {"params": [b], "lr": 0.5}]
        result.append(optimizers.SGD(groups, lr=1.0, momentum=0.9))
    return result


def compare(ours, theirs, pair, metrics):
    for metric in metrics:
        for mine, other in zip(pair[0].param_groups, pair[1].param_groups, strict=True):
            for name in ("lr", "momentum"):
                assert mine[name] == pytest.approx(other[name], rel=1e-9, abs=1e-12)
        pair[1].step()
        ours.step(*metric)
        theirs.step(*metric)


@pytest.mark.parametrize(("name", "options"), PEERS)
def test_as_pytorch(name, options, pair):
    from torch.optim import lr_scheduler

    ours = getattr(schedules, name)(pair[0], **options)
    theirs = getattr(lr_scheduler, name)(pair[1], **options)
    compare(ours, theirs, pair, [()] * 20)


@pytest.mark.parametrize("milestone", [1, 3, 6])
def test_sequence_as_pytorch(milestone, pair):
    from torch.optim import lr_scheduler

    sequences = []
    for optimizer, library in zip(pair, (schedules, lr_scheduler), strict=True):
        parts = [
            library.LinearLR(optimizer, start_factor=0.1, total_iters=milestone),
            library.CosineAnnealingLR(optimizer, T_max=8),
            library.ExponentialLR(optimizer, gamma=0.9),
        ]
        sequences.append(library.SequentialLR(optimizer, parts, [milestone, milestone + 8]))
    compare(*sequences, pair, [()] * 20)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_plateau_as_pytorch(mode, threshold_mode, pair):
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    options = {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "threshold": 0.1,
        "patience": 1,
        "cooldown": 1,
        "min_lr": 0.02,
    }
    metrics = [(math.sin(3.0 * t) + 0.05 * t,) for t in range(40)]
    ours, theirs = (
        schedules.ReduceLROnPlateau(pair[0], **options),
        ReduceLROnPlateau(pair[1], **options),
    )
    compare(ours, theirs, pair, metrics)
