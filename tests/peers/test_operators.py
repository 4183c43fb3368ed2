"""Every operator of PyTorch's own test tables that nnlib has, on every sample of theirs."""

import inspect
import warnings

import numpy as np
import pytest
from ops.table import peer
from peers.deviations import reason_for, unused
from peers.operators import OPERATORS, NotInNnlib
from peers.samples import (
    COUNTS,
    TOLERANCE,
    Ours,
    Outcome,
    Torch,
    arrays,
    compiled_difference,
    described,
    difference,
    evaluate,
    ours,
    wide,
)

pytestmark = pytest.mark.peers
torch = peer("torch")
expecttest = peer("expecttest")  # which PyTorch's tables import

DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


@pytest.fixture(scope="module")
def table():
    """PyTorch's table; importing it takes seconds, so collecting these tests does not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {(info.name, info.variant_test_name): info for info in op_db}


def test_every_row_names_an_operator(table):
    """A row whose name PyTorch's table does not have would compare nothing."""
    assert set(OPERATORS) <= set(table), set(OPERATORS) - set(table)


def drawn(info, dtype):
    """All samples, contiguous, then strided, as (arguments, options)."""
    differentiable = dtype.startswith("float") and info.supports_autograd
    torch.manual_seed(0)
    np.random.seed(0)
    samples = list(info.sample_inputs("cpu", getattr(torch, dtype), requires_grad=differentiable))
    for strided in (False, True):
        for sample in samples:
            other = sample.noncontiguous() if strided else sample
            yield strided, ((other.input, *other.args), dict(other.kwargs))


@pytest.mark.parametrize("key", OPERATORS, ids=lambda key: "-".join(filter(None, key)))
@pytest.mark.filterwarnings("ignore")
def test_agrees_with_pytorch(table, key):
    outcome = Outcome()
    for dtype in DTYPES:
        if table[key].supports_dtype(getattr(torch, dtype), "cpu"):
            compare_all(table[key], OPERATORS[key], dtype, outcome)
    COUNTS["agreed"] += outcome.agreed
    COUNTS["failed"] += len(outcome.failures)
    COUNTS["with options that nnlib does not have"] += outcome.left_out
    assert not unused(key[0])
    assert not outcome.failures, "\n".join(
        [f"{len(outcome.failures)} fail, {outcome.agreed} agree", *outcome.failures[:12]]
    )


def compare_all(info, function, dtype, outcome):
    signature = inspect.signature(function)
    orders = 1 if info.supports_autograd and dtype.startswith("float") else 0
    if dtype == "float64" and info.supports_gradgrad:
        orders = 2
    for strided, sample in drawn(info, dtype):
        try:
            signature.bind(*sample[0], **sample[1])
        except TypeError:
            outcome.left_out += 1
            continue
        with np.errstate(all="ignore"):
            what = compared(info, function, sample, dtype, orders, strided)
        if what is None:
            outcome.left_out += 1
        elif not what:
            outcome.agreed += 1
        elif reason_for(info.name, dtype, what):
            COUNTS["different by design"] += 1
        else:
            outcome.failures.append(f"{'strided ' * strided}{described(sample)}: {what}")


def compared(info, function, sample, dtype, orders, strided):
    """Say how nnlib differs from PyTorch on a sample; None if it does not have this option."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    try:
        mine = arrays(Ours, evaluate(Ours, function, ours(list(sample)), orders))
    except NotInNnlib:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
    with sdpa_kernel(SDPBackend.MATH):  # PyTorch's faster attention has no second derivative
        near = truth = arrays(Torch, evaluate(Torch, info, sample, orders))
        if dtype == "float32":
            truth = arrays(Torch, evaluate(Torch, info, wide(list(sample)), orders))
    for what, values in truth.items():
        problem = difference(
            mine.get(what, []), values, near.get(what, []), TOLERANCE.get(dtype, 2e-5)
        )
        if problem:
            return f"{what}: {problem}"
    if dtype == "float32" and not strided:
        return compiled_difference(function, ours(list(sample)), orders)
    return ""
