"""Every module of PyTorch's own test tables that nnlib has, on every sample of theirs."""

import warnings
from collections import Counter

import numpy as np
import pytest
from ops.table import peer
from peers.deviations import reason_for, unused
from peers.modules import MODULES
from peers.operators import NotInNnlib
from peers.samples import (
    COUNTS,
    TOLERANCE,
    Ours,
    Torch,
    arrays,
    described,
    difference,
    evaluate,
    ours,
    wide,
)

pytestmark = pytest.mark.peers
torch = peer("torch")
expecttest = peer("expecttest")  # which PyTorch's tables import


@pytest.fixture(scope="module")
def table():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db
    return {info.module_cls.__name__: info for info in module_db}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore")
def test_agrees_with_pytorch(table, name, dtype):
    counts, failures = Counter(), []
    for training in (True, False):
        torch.manual_seed(0)
        for sample in table[name].module_inputs_func(
            table[name], "cpu", getattr(torch, dtype), True, training
        ):
            with np.errstate(all="ignore"):
                what = compared(table[name].module_cls, MODULES[name], sample, dtype, training)
            made = sample.constructor_input
            call = sample.forward_input
            arguments = ((*made.args, *call.args), {**made.kwargs, **call.kwargs})
            if what is None:
                counts["with options that nnlib does not have"] += 1
            elif not what:
                counts["agreed"] += 1
            elif reason_for(f"nn.{name}", dtype, what):
                counts["different by design"] += 1
            else:
                failures.append(f"{described(arguments)}: {what}")
    COUNTS.update(counts, failed=len(failures))
    assert not unused(f"nn.{name}") or dtype == "float64"
    assert not failures, "\n".join(
        [f"{len(failures)} fail, {counts['agreed']} agree", *failures[:12]]
    )


def compared(cls, adapter, sample, dtype, training):
    """Say how nnlib's module differs from PyTorch's; None if it does not have this option."""
    torch.manual_seed(1)
    made, call = sample.constructor_input, sample.forward_input
    theirs = cls(*made.args, **made.kwargs).to(getattr(torch, dtype)).train(training)
    args, options = call.args, call.kwargs
    try:
        mine = adapter.make(*ours(made.args), **ours(made.kwargs)).astype(dtype).train(training)
        names = mine.state_dict()
        mine.load_state_dict(
            {k: layout(v.numpy(), names[k]) for k, v in theirs.state_dict().items()}
        )
        own = list(mine.parameters())
        found = arrays(
            Ours,
            evaluate(
                Ours, lambda *a, **o: adapter.call(mine, *a, **o), ours([args, options]), 1, own
            ),
        )
    except NotInNnlib:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    near = arrays(Torch, evaluate(Torch, theirs, [args, options], 1, list(theirs.parameters())))
    torch.manual_seed(1)
    again = cls(*wide(made.args), **wide(made.kwargs)).double().train(training)
    again.load_state_dict(theirs.state_dict())
    truth = evaluate(Torch, again, wide([args, options]), 1, list(again.parameters()))
    truth = arrays(Torch, truth)
    for what, values in truth.items():
        values, close = (
            [layout(x, y) for x, y in zip(v, found[what], strict=False)]
            for v in (values, near[what])
        )
        problem = difference(found[what], values, close, TOLERANCE[dtype])
        if problem:
            return f"{what}: {problem}"
    return ""


def layout(theirs, mine):
    """Filters are (out, in, …) there and (out, …, in) here."""
    same = theirs.shape == mine.shape or theirs.ndim < 3
    return theirs if same else np.moveaxis(theirs, 1, -1)
