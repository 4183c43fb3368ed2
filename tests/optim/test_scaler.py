"""Loss scaling: the same gradients, steps that are left out, a factor that adapts."""

import numpy as np
import pytest

import nnlib
from nnlib import nn, optim
from nnlib.errors import OptionError, StateError
from nnlib.nn import functional as F

# where an update is computed by NumPy from infinite gradients, before it is taken back
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw": lambda p: optim.AdamW(p, lr=0.1),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.1),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
}


def parameters():
    return [nnlib.tensor(v, requires_grad=True) for v in ([1.0, -2.0], [[3.0]])]


def step(params, optimizer, scaler, factor=1.0):
    optimizer.zero_grad()
    loss = sum((p * p).sum() for p in params) * factor
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_finite_gradients_are_as_without_it(backend, kind):
    plain, scaled = parameters(), parameters()
    one, other = OPTIMIZERS[kind](plain), OPTIMIZERS[kind](scaled)
    scaler = optim.GradScaler(init_scale=1024.0)
    for _ in range(3):
        step(plain, one, optim.GradScaler(enabled=False))
        step(scaled, other, scaler)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_with_an_infinite_gradient_changes_nothing(backend, kind, bad):
    params = parameters()
    optimizer, scaler = OPTIMIZERS[kind](params), optim.GradScaler(init_scale=8.0)
    step(params, optimizer, scaler)
    before = [p.numpy() for p in params]
    state = [t.numpy() for own in optimizer.state.values() for k, t in own.items() if k != "step"]
    step(params, optimizer, scaler, factor=bad)
    after = [t.numpy() for own in optimizer.state.values() for k, t in own.items() if k != "step"]
    for a, b in zip([*before, *state], [*[p.numpy() for p in params], *after], strict=True):
        np.testing.assert_array_equal(a, b)
    assert scaler.get_scale() == 4.0
    step(params, optimizer, scaler)
    assert all(np.isfinite(p.numpy()).all() for p in params)
    assert not np.array_equal(params[0].numpy(), before[0])


def test_the_factor_grows_after_good_steps_in_a_row(backend):
    params = parameters()
    optimizer = optim.SGD(params, lr=0.0)
    scaler = optim.GradScaler(2.0, growth_factor=4.0, backoff_factor=0.25, growth_interval=3)
    factors = []
    for factor in (1, 1, 1, 1, 1, np.inf, 1, 1, 1):
        step(params, optimizer, scaler, factor)
        factors.append(scaler.get_scale())
    assert factors == [2, 2, 8, 8, 8, 2, 2, 2, 8]


def test_gradients_that_float16_cannot_hold_are_kept(backend):
    w = nnlib.tensor([[1.0]], requires_grad=True)

    def gradient(scaler):
        w.grad = None
        with nnlib.autocast("fp16"):
            y = nn.functional.linear(nnlib.tensor([[1.0]]), w)
            loss = y.sum() * 1e-8
        scaler.scale(loss).backward()
        scaler.unscale_(optim.SGD([w], lr=1.0))
        return w.grad.item()

    assert gradient(optim.GradScaler(enabled=False)) == 0
    assert gradient(optim.GradScaler()) == pytest.approx(1e-8, rel=1e-3)


def test_unscaled_gradients_can_be_clipped(backend):
    params = parameters()
    optimizer, scaler = optim.SGD(params, lr=1.0), optim.GradScaler(64.0)
    scaler.scale((params[0] * 5).sum()).backward()
    scaler.unscale_(optimizer)
    assert float(optim.clip_grad_norm_(params, 1.0)) == pytest.approx(50**0.5)
    with pytest.raises(OptionError, match=r"twice for one optimizer\. Call update"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    np.testing.assert_allclose(params[0].numpy(), [1 - 0.5**0.5, -2 - 0.5**0.5], rtol=1e-5)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_compiled_step_is_the_same(backend, kind):
    def run(compiled):
        params = parameters()
        optimizer, scaler = OPTIMIZERS[kind](params), optim.GradScaler(16.0, growth_interval=2)

        def one(factor):
            step(params, optimizer, scaler, factor)
            return params[0].sum()

        one = nnlib.compile(one) if compiled else one
        factors = [1.0, 1.0, np.inf, 1.0, np.nan, 1.0, 1.0]
        sums = [float(one(nnlib.tensor(factor))) for factor in factors]
        return sums, [p.numpy() for p in params], scaler.state_dict()

    sums, weights, state = run(compiled=False)
    again, replayed, their_state = run(compiled=True)
    assert sums == again
    assert state == their_state
    for a, b in zip(weights, replayed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_in_float16_learns(backend):
    train, _ = nnlib.data.digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer, scaler = optim.Adam(model.parameters(), lr=0.01), optim.GradScaler()

    @nnlib.compile
    def train_step(x, y):
        optimizer.zero_grad()
        with nnlib.autocast("fp16"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    loader = nnlib.data.DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
    for _ in range(3):
        for x, y in loader:
            loss = train_step(nnlib.tensor(x), nnlib.tensor(y))
    assert float(loss) < 0.7
    assert scaler.get_scale() > 1


def test_state_is_saved_and_loaded(backend):
    params = parameters()
    optimizer, scaler = optim.SGD(params, lr=0.1), optim.GradScaler(8.0)
    step(params, optimizer, scaler)
    other = optim.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() == {"scale": 8.0, "good_steps": 1.0}
    step(params, optimizer, other, factor=np.inf)
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 8.0
    for wrong in ({"scale": 1.0}, {"scale": -1.0, "good_steps": 0}):
        with pytest.raises(StateError, match="scale and good_steps"):
            other.load_state_dict(wrong)


def test_options_out_of_range_are_refused():
    for options in ({"init_scale": 0}, {"growth_factor": 1.0}, {"backoff_factor": 1.0}):
        with pytest.raises(OptionError, match="a scaler needs"):
            optim.GradScaler(**options)
    with pytest.raises(OptionError, match="growth_interval"):
        optim.GradScaler(growth_interval=0)
