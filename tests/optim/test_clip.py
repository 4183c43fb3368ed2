import math

import numpy as np
import pytest
import strict_backend
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import BackendMismatchError, DTypeError, NonFiniteError, OptionError
from nnlib.optim import clip_grad_norm_, clip_grad_value_


@pytest.fixture
def params(backend):
    params = [nnlib.zeros(2, requires_grad=True), nnlib.zeros(1, 1, requires_grad=True)]
    params[0].grad = nnlib.tensor([1.0, -2.0])
    params[1].grad = nnlib.tensor([[2.0]])
    return [*params, nnlib.zeros(3, requires_grad=True)]  # the last one has no gradient


def gradients(params):
    return [value for p in params if p.grad is not None for value in p.grad.numpy().ravel()]


def test_norm_above_the_limit(params):
    norm = clip_grad_norm_(params, max_norm=1.5)
    assert (norm.item(), norm.shape, norm.dtype) == (3.0, (), np.float32)
    assert gradients(params) == pytest.approx([0.5, -1.0, 1.0], rel=1e-6)


def test_norm_below_the_limit(params):
    clip_grad_norm_(iter(params), max_norm=3.1)
    assert gradients(params) == [1.0, -2.0, 2.0]


@pytest.mark.parametrize(("p", "norm"), [(1, 5.0), (3, 17 ** (1 / 3)), (math.inf, 2.0)])
def test_other_norms(params, p, norm):
    assert clip_grad_norm_(params, norm / 2, norm_type=p).item() == pytest.approx(norm, rel=1e-6)
    assert gradients(params) == pytest.approx([0.5, -1.0, 1.0], rel=1e-5)


def test_a_single_tensor(params):
    assert clip_grad_norm_(params[1], 1.0).item() == 2.0
    clip_grad_value_(params[0], 0.5)
    assert gradients(params) == pytest.approx([0.5, -0.5, 1.0], rel=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_without_gradients_the_norm_is_zero(backend, p):
    assert clip_grad_norm_([nnlib.zeros(3, requires_grad=True)], 1.0, p).item() == 0.0
    assert clip_grad_norm_([], 1.0, p).item() == 0.0
    empty = nnlib.zeros(0, requires_grad=True)
    empty.grad = nnlib.zeros(0)
    assert clip_grad_norm_([empty], 1.0, p).item() == 0.0


def test_half_precision_does_not_overflow(backend):
    p = nnlib.zeros(1000, dtype="float16", requires_grad=True)
    p.grad = nnlib.full((1000,), 100.0, dtype="float16")
    assert clip_grad_norm_([p], 1.0).item() == pytest.approx(math.sqrt(1e7), rel=1e-6)
    assert p.grad.dtype == np.float16


@pytest.mark.parametrize("order", [1, -1])
def test_gradients_of_two_dtypes(backend, order):
    params = [nnlib.zeros(2, dtype=d, requires_grad=True) for d in ("float32", "float64")[::order]]
    for p in params:
        p.grad = nnlib.full(2, 1e30 if p.dtype == np.float32 else 1e60, dtype=p.dtype)
    norm = clip_grad_norm_(params, 1.0)
    assert norm.dtype == np.float64
    assert norm.item() == pytest.approx(math.sqrt(2) * 1e60)


def test_a_long_vector_keeps_its_digits():
    p = nnlib.zeros(3_000_000, requires_grad=True)
    p.grad = nnlib.full((3_000_000,), 0.1)
    assert clip_grad_norm_([p], 1e9).item() == pytest.approx(0.1 * math.sqrt(3e6), rel=1e-4)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_nothing_is_read_unless_asked_for(p):
    with nnlib.use_backend("strict"):
        w = nnlib.zeros(3, requires_grad=True)
        w.grad = nnlib.ones(3)
        with strict_backend.counting() as counts:
            clip_grad_norm_([w], 1.0, p)
            clip_grad_value_([w], 0.1)
        assert counts.reads == counts.transfers == 0, counts.where
        with strict_backend.counting() as counts:
            clip_grad_norm_([w], 1.0, p, error_if_nonfinite=True)
        assert counts.reads > 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_norm_that_is_not_finite(params, value):
    with nnlib.no_grad():
        params[0].grad[0] = value
    with pytest.raises(NonFiniteError, match=f"must be finite to clip them. Received: {value}"):
        clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert gradients(params)[1:] == [-2.0, 2.0]  # the error came first
    with np.errstate(invalid="ignore"):
        assert not math.isfinite(clip_grad_norm_(params, 1.0).item())


def test_values(params):
    clip_grad_value_(params, 1.5)
    assert gradients(params) == [1.0, -1.5, 1.5]


def test_gradients_count_as_changed(params):
    for clip in (clip_grad_norm_, clip_grad_value_):
        before = params[0].grad.version_cell[0]
        clip(params, 1.0)
        assert params[0].grad.version_cell[0] > before


def test_two_backends():
    params = [nnlib.zeros(1, requires_grad=True, backend=name) for name in ("numpy", "strict")]
    for p in params:
        p.grad = nnlib.ones(1, backend=p.backend)
    with pytest.raises(BackendMismatchError, match="'numpy' and 'strict'"):
        clip_grad_norm_(params, 1.0)
    clip_grad_value_(params, 0.5)
    assert gradients(params) == [0.5, 0.5]


def test_ranges(params):
    with pytest.raises(OptionError, match="max_norm must be"):
        clip_grad_norm_(params, -1.0)
    with pytest.raises(OptionError, match="clip_value must be"):
        clip_grad_value_(params, math.nan)
    for p in (0, -1, math.nan):
        with pytest.raises(OptionError, match="norm_type must be positive"):
            clip_grad_norm_(params, 1.0, norm_type=p)


@pytest.mark.peers
@settings(max_examples=40, deadline=None)
@given(
    p=st.sampled_from([0.5, 1.0, 2.0, 3.5, math.inf]),
    limit=st.floats(0, 20),
    seed=st.integers(0, 1000),
)
def test_as_pytorch(p, limit, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for shape in [(3, 4), (), (5,)]:
        gradient = np.asarray(rng.normal(size=shape), "float32")
        ours.append(nnlib.zeros(shape, requires_grad=True))
        ours[-1].grad = nnlib.tensor(gradient.copy())
        theirs.append(torch.zeros(shape, requires_grad=True))
        theirs[-1].grad = torch.tensor(gradient)
    norm = clip_grad_norm_(ours, limit, p)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, p)
    assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("norm_type", [1, 2.0, math.inf])
def test_infinite_limits_only_measure(params, norm_type):
    measured = clip_grad_norm_(params, math.inf, norm_type)
    assert measured.item() == clip_grad_norm_(params, 1e9, norm_type).item()
    assert clip_grad_value_(params, math.inf) is None
    assert gradients(params) == [1.0, -2.0, 2.0]
    params[0].grad = nnlib.tensor([math.inf, 1.0])
    assert clip_grad_norm_(params, math.inf, norm_type).item() == math.inf
    assert gradients(params) == [math.inf, 1.0, 2.0]


def test_measuring_in_a_compiled_step(backend):
    w = nnlib.zeros(2, requires_grad=True)

    @nnlib.compile
    def norm(x):
        w.grad = None
        (w * x).sum().backward()
        return clip_grad_norm_(w, math.inf)

    assert [norm(nnlib.tensor([3.0, 4.0]) * i).item() for i in range(1, 5)] == [5, 10, 15, 20]


CLIPS = [lambda params: clip_grad_norm_(params, 1.0), lambda params: clip_grad_value_(params, 1.0)]


@pytest.mark.parametrize("clip", CLIPS, ids=["norm", "value"])
class TestWhatIsClipped:
    def test_a_generator(self, clip):
        layer = nn.Linear(2, 1)
        layer(nnlib.full((1, 2), 5.0)).sum().backward()
        parameters = layer.parameters()
        clip(parameters)
        assert layer.weight.grad.tolist()[0][0] <= 1.0
        with pytest.raises(OptionError, match="used up before"):
            clip(parameters)

    @pytest.mark.parametrize(
        ("wrong", "text"),
        [
            (nn.Linear(2, 1), r"Received: Linear. Give its parameters\(\)"),
            (dict(nn.Linear(2, 1).named_parameters()), "Received: dict"),
            (list(nn.Linear(2, 1).named_parameters()), "without names"),
            ([np.zeros(2)], "Received: ndarray"),
            ("weight", "Received: str"),
            (None, "Received: NoneType"),
        ],
    )
    def test_no_tensors(self, clip, wrong, text):
        with pytest.raises(DTypeError, match=text):
            clip(wrong)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, -math.inf, "1", None])
def test_limits_that_are_none(params, wrong):
    with pytest.raises(OptionError, match="max_norm must be a number >= 0"):
        clip_grad_norm_(params, wrong)
    with pytest.raises(OptionError, match="clip_value must be a number >= 0"):
        clip_grad_value_(params, wrong)
    with pytest.raises(OptionError, match="norm_type must be positive"):
        clip_grad_norm_(params, 1.0, wrong)
