"""What a label, weight, length or mask leaves out counts nothing, whatever it is.

Each row of the table computes something of arrays, parts of which it leaves out.  With NaN or an
infinity in these parts, results and gradients have to be the bits that they are with zeros there,
and the gradient by these parts 0.  A function with an argument that can leave something out has to
have a row.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nnlib
from nnlib import nn, ops
from nnlib.nn import functional as F
from nnlib_backends import use_backend

#: Names of arguments by which something is left out.
ARGUMENTS = {
    "attn_mask", "ignore_index", "key_padding_mask", "lengths", "mask", "padding_idx", "pos_weight",
    "src_key_padding_mask",
}  # fmt: skip
LOSSES = (F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.cross_entropy, F.nll_loss)


@dataclass(frozen=True)
class Row:
    """A function of tensors, and for each of its arrays what of it is left out."""

    name: str
    about: Any
    function: Callable[..., Any]
    left_out: tuple[Any, ...]
    positive: bool = False  # draw numbers in (0, 1)


def mask(*shape: int, at: Any) -> np.ndarray:
    """Truth values, true at one place."""
    found = np.zeros(shape, bool)
    found[at] = True
    return found


LABELS = np.array([1, -100, 2, 0])
IGNORED = mask(4, 3, at=1)
ZERO_WEIGHT = [1.0, 0.5, 0.0]  # of class 2: the third row
ROW_WEIGHT = np.array([[1.0, 2, 3], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
LENGTHS = [3, 1, 0]
BEYOND = np.arange(4)[None, :, None] >= np.array(LENGTHS)[:, None, None]
BEYOND = np.broadcast_to(BEYOND, (3, 4, 2)).copy()
HIDDEN = mask(2, 5, at=np.s_[0, 3:]) | mask(2, 5, at=np.s_[1, 0])  # keys of two batches
KEYS = np.broadcast_to(HIDDEN[:, None, :, None], (2, 3, 5, 4)).copy()
HEADS_LAST = np.broadcast_to(HIDDEN[:, :, None, None], (2, 5, 3, 4)).copy()
NONE = np.zeros(0, bool)


def attend(q, k, v, mask=None, **options):
    return F.scaled_dot_product_attention(q, k, v, mask, **options)


def as_float(hidden: np.ndarray) -> np.ndarray:
    return np.where(hidden, -np.inf, 0.5).astype("float32")


def recurrent(kind, **options):
    def function(x):
        nnlib.manual_seed(0)
        model = kind(2, 3, **options)
        y, state = model(x, lengths=LENGTHS)
        states = state if isinstance(state, tuple) else (state,)
        return [y, *states, *model.parameters()]

    return function


def multihead(q, k, v):
    nnlib.manual_seed(0)
    model = nn.MultiheadAttention(4, 2)
    y, weights = model(q, k, v, key_padding_mask=HIDDEN, need_weights=True)
    return [y, weights, *model.parameters()]


def all_but_the_last_query(q, k, v):
    return attend(q, k, v, is_causal=True)[:, :, :-1]


QUERY = np.zeros((2, 3, 5, 4), bool)
LAST_KEY = mask(2, 3, 5, 4, at=np.s_[:, :, -1])
PACKED = np.broadcast_to(HIDDEN[:, :, None, None, None], (2, 5, 3, 3, 4)).copy()
PACKED[:, :, 0] = False  # queries are asked for all the same

TABLE = [
    Row("cross_entropy", F.cross_entropy, lambda x: F.cross_entropy(x, LABELS), (IGNORED,)),
    Row("its sum", F.cross_entropy,
        lambda x: F.cross_entropy(x, LABELS, reduction="sum"), (IGNORED,)),
    Row("another label", F.cross_entropy,
        lambda x: F.cross_entropy(x, np.abs(LABELS) % 99, ignore_index=2),
        (mask(4, 3, at=2),)),
    Row("labels of 8 bits", F.cross_entropy,
        lambda x: F.cross_entropy(x, np.array([0, 1, 2, 0], "uint8"), ignore_index=1),
        (mask(4, 3, at=1),)),
    Row("class weights", F.cross_entropy,
        lambda x: F.cross_entropy(x, LABELS, np.array(ZERO_WEIGHT, "float32")),
        (mask(4, 3, at=[1, 2]),)),
    Row("smoothed labels", F.cross_entropy,
        lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.1), (IGNORED,)),
    Row("nll_loss", F.nll_loss, lambda x: F.nll_loss(x, LABELS), (IGNORED,)),
    Row("nll_loss with weights", F.nll_loss,
        lambda x: F.nll_loss(x, LABELS, np.array(ZERO_WEIGHT, "float32")),
        (mask(4, 3, at=[1, 2]),)),
    Row("nll_loss of other classes", F.nll_loss, lambda x: F.nll_loss(x, [0, 0]),
        (mask(2, 3, at=np.s_[:, 1:]),)),
    Row("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits,
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, ROW_WEIGHT.astype("float32")),
        (ROW_WEIGHT == 0, ROW_WEIGHT == 0), positive=True),
    Row("pos_weight", F.binary_cross_entropy_with_logits,
        lambda x: F.binary_cross_entropy_with_logits(
            x, np.array([[1.0, 0], [1, 1]], "float32"), pos_weight=np.array([0, 2.0], "float32")),
        (mask(2, 2, at=np.s_[:, 0]),)),
    Row("binary_cross_entropy", F.binary_cross_entropy,
        lambda x, t: F.binary_cross_entropy(x, t, ROW_WEIGHT.astype("float32")),
        (ROW_WEIGHT == 0, ROW_WEIGHT == 0), positive=True),
    Row("attention", F.scaled_dot_product_attention,
        lambda q, k, v: attend(q, k, v, ~HIDDEN[:, None, None]), (QUERY, KEYS, KEYS)),
    Row("additive mask", F.scaled_dot_product_attention,
        lambda q, k, v: attend(q, k, v, as_float(HIDDEN[:, None, None])), (QUERY, KEYS, KEYS)),
    Row("causal attention", F.scaled_dot_product_attention, all_but_the_last_query,
        (QUERY, QUERY, LAST_KEY)),
    Row("ops.attention", ops.attention,
        lambda q, k, v: ops.attention(q, k, v, nnlib.tensor(~HIDDEN[:, None, None])),
        (QUERY.transpose(0, 2, 1, 3), HEADS_LAST, HEADS_LAST)),
    Row("ops.self_attention", ops.self_attention,
        lambda qkv: ops.self_attention(qkv, nnlib.tensor(~HIDDEN[:, None, None])), (PACKED,)),
    Row("MultiheadAttention", nn.MultiheadAttention, multihead,
        (np.zeros((2, 3, 4), bool), *[np.broadcast_to(HIDDEN[..., None], (2, 5, 4)).copy()] * 2)),
    *(
        Row(f"{kind.__name__} {options}", about, recurrent(kind, **options), (BEYOND,))
        for kind in (nn.RNN, nn.GRU, nn.LSTM)
        for about in (kind, getattr(ops, kind.__name__.lower()))
        for options in ({}, {"num_layers": 2, "bidirectional": True})
    ),
    Row("LSTM with peepholes", nn.LSTM, recurrent(nn.LSTM, peepholes=True), (BEYOND,)),
    Row("embedding", F.embedding,
        lambda g, table: (F.embedding([1, 0, 2], table, padding_idx=0) * g)[::2],
        (mask(3, 2, at=1), np.zeros((3, 2), bool))),
]  # fmt: skip


def find(given: list[np.ndarray], row: Row, backend: Any) -> list[np.ndarray]:
    """Return results and gradients."""
    inputs = [nnlib.tensor(x, requires_grad=True, backend=backend) for x in given]
    found = row.function(*inputs)
    results = [found] if isinstance(found, nnlib.Tensor) else found
    parameters = [x for x in results if x.is_leaf]
    total = sum(
        (y * nnlib.tensor(np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype))).sum()
        for y in results if not y.is_leaf
    )  # fmt: skip
    total.backward()
    gradients = [
        np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in (*inputs, *parameters)
    ]
    return [y.numpy() for y in results] + gradients


KINDS = [("float32", math.nan), ("float32", math.inf), ("float64", math.nan)]
MORE = [("float32", -math.inf), ("float64", math.inf), ("float16", math.nan), ("float16", math.inf)]


@pytest.mark.parametrize(
    ("dtype", "poison"), [*KINDS, *(pytest.param(*kind, marks=pytest.mark.slow) for kind in MORE)]
)
@pytest.mark.parametrize("row", TABLE, ids=[row.name for row in TABLE])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # on the way, where inf is
def test_what_is_left_out_counts_nothing(row, dtype, poison, backend):
    rng = np.random.default_rng(0)
    clean, bad = [], []
    for left_out in row.left_out:
        x = (
            rng.uniform(0.1, 0.9, left_out.shape)
            if row.positive
            else rng.normal(size=left_out.shape)
        )
        clean.append(np.where(left_out, 0, x).astype(dtype))
        bad.append(np.where(left_out, poison, x).astype(dtype))
    right, found = find(clean, row, backend), find(bad, row, backend)
    for ours, theirs in zip(found, right, strict=True):
        assert np.isfinite(theirs).all()
        np.testing.assert_array_equal(ours, theirs)
    count = len(row.left_out)
    gradients = found[-count - parameters(row) :][:count]
    for gradient, left_out in zip(gradients, row.left_out, strict=True):
        assert not gradient[left_out].any()


def parameters(row: Row) -> int:
    """How many gradients of parameters come last."""
    with use_backend("numpy"):
        made = row.function(*[nnlib.zeros(*x.shape) for x in row.left_out])
    return 0 if isinstance(made, nnlib.Tensor) else sum(isinstance(x, nn.Parameter) for x in made)


def leaves_out(function: Any) -> bool:
    """Tell whether a function, or a layer when called, has an argument that leaves out."""
    try:
        names = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names & ARGUMENTS) or function in LOSSES


def test_every_function_that_leaves_something_out_has_a_row():
    rows = {row.about for row in TABLE} | {nn.Embedding}  # whose forward is F.embedding
    able = [getattr(F, name) for name in F.__all__] + [getattr(ops, name) for name in ops.__all__]
    layers = [getattr(nn, name) for name in nn.__all__]
    missing = [f.__name__ for f in able if leaves_out(f) and f not in rows]
    missing += [
        layer.__name__ for layer in layers
        if inspect.isclass(layer) and leaves_out(getattr(layer, "forward", None))
        and layer not in rows
    ]  # fmt: skip
    assert not missing


def test_a_query_that_sees_no_key_gets_nothing(backend):
    """By a truth value or by −∞, together with the causal mask or without."""
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 4)).astype("float32")
    hidden = mask(3, 3, at=1)
    for causal in (False, True):
        for given in (~hidden, as_float(hidden)):
            q = nnlib.tensor(x, requires_grad=True)
            y = F.scaled_dot_product_attention(q, x, x, given, is_causal=causal)
            y.sum().backward()
            assert not y.numpy()[:, :, 1].any()
            assert not q.grad.numpy()[:, :, 1].any()
            assert np.isfinite(q.grad.numpy()).all()


def test_a_visible_value_that_is_no_number_shows(backend):
    """Nothing is hidden that counts."""
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 4)).astype("float32")
    v = x.copy()
    v[0, 0, 1] = np.nan
    y = F.scaled_dot_product_attention(x, x, v, np.array([True, True, False]))
    assert np.isnan(y.numpy()).all()
    y = F.scaled_dot_product_attention(x, x, v, np.array([[True, False, True]] * 2 + [[True] * 3]))
    assert np.isnan(y.numpy()).any(axis=-1).ravel().tolist() == [False, False, True]


def test_probability_zero_of_an_impossible_class():
    """0 log 0 is 0."""
    logits = nnlib.tensor([[-math.inf, 0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(logits, np.array([[0.0, 0.5, 0.5]], "float32"))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert np.isfinite(logits.grad.numpy()).all()
    scores = F.log_softmax(logits.detach())
    assert np.isfinite(F.kl_div(scores, [[0.0, 0.25, 0.75]]).item())
    with np.errstate(divide="ignore"):
        log_target = np.log(np.array([[0.0, 0.25, 0.75]], "float32"))
    assert np.isfinite(F.kl_div(scores, log_target, log_target=True).item())


def test_dropped_infinities_are_zero(backend):
    x = nnlib.tensor(np.full(64, np.inf, "float32"), requires_grad=True)
    for p in (0.5, 1.0):
        y = F.dropout(x, p)
        assert not np.isnan(y.numpy()).any()
        assert (y.numpy() == 0).any()
    assert F.dropout(nnlib.tensor(np.float32(0.7)), 1.0).item() == 0
