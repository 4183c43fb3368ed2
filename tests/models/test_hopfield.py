import numpy as np
import pytest
import strict_backend
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import CaptureError, DTypeError, OptionError, ShapeError, StateError
from nnlib.models import Hopfield, ModernHopfield
from nnlib.models.hopfield import RULES
from nnlib.nn import functional as F
from nnlib.random import Generator

RULE = pytest.mark.parametrize("rule", RULES)


def signs(*shape, seed=0):
    return np.random.default_rng(seed).choice([-1, 1], shape)


def flip(patterns, count, seed=1):
    """Turn so many places of every pattern."""
    rng, damaged = np.random.default_rng(seed), np.array(patterns)
    for row in damaged:
        row[rng.permutation(len(row))[:count]] *= -1
    return damaged


# References in loops -----------------------------------------------------------------------------


def hebbian_times_n(patterns):
    """N W in whole numbers, so that a field of 0 is 0."""
    N = patterns.shape[1]
    W = np.zeros((N, N), np.int64)
    for pattern in patterns:
        for i in range(N):
            for j in range(N):
                W[i, j] += pattern[i] * pattern[j] if i != j else 0
    return W


def updated(W, state, i):
    field = sum(W[i, j] * state[j] for j in range(len(state)))
    return state[i] if field == 0 else 1 if field > 0 else -1


def asynchronous(W, state, orders):
    """Final state, steps, period."""
    state = list(state)
    for step, order in enumerate(orders):
        before = list(state)
        for i in order:
            state[i] = updated(W, state, i)
        if state == before:
            return state, step, 1
    return state, len(orders), 0


def synchronous(W, state, max_steps):
    seen = [list(state)]
    for step in range(1, max_steps + 1):
        seen.append([updated(W, seen[-1], i) for i in range(len(state))])
        for period in (1, 2):
            if step >= period and seen[-1] == seen[-1 - period]:
                return seen[step - period], step - period, period
    return seen[-1], max_steps, 0


def energy(W, state):
    N = len(state)
    return -0.5 * sum(W[i, j] * state[i] * state[j] for i in range(N) for j in range(N))


# Storage -----------------------------------------------------------------------------------------


def test_hebbian_weights(backend):
    patterns = signs(5, 12)
    W = Hopfield(12).store(patterns).weight
    assert W.dtype == "float32"
    np.testing.assert_allclose(W.numpy(), hebbian_times_n(patterns) / 12, rtol=1e-6)


def test_projection_weights(backend):
    patterns = signs(5, 12).astype(float)
    W = Hopfield(12).astype("float64").store(patterns, "projection").weight
    gram = np.array([[a @ b for b in patterns] for a in patterns])
    expected = patterns.T @ np.linalg.inv(gram) @ patterns
    np.testing.assert_allclose(W.numpy(), expected - np.diag(np.diag(expected)), atol=1e-12)


@RULE
def test_weights_are_symmetric_to_the_bit_without_self_connections(backend, rule):
    W = Hopfield(50).store(signs(20, 50), rule).weight.numpy()
    np.testing.assert_array_equal(W, W.T)
    assert not np.diag(W).any()


@RULE
def test_store_replaces_what_was_stored(rule):
    memory = Hopfield(12).store(signs(5, 12), rule)
    weight = memory.weight
    assert memory.store(signs(3, 12, seed=1), rule) is memory
    assert memory.weight is weight
    np.testing.assert_array_equal(
        weight.numpy(), Hopfield(12).store(signs(3, 12, seed=1), rule).weight.numpy()
    )


# Recall ------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(N=st.integers(2, 40), P=st.integers(1, 12), seed=st.integers(0, 1000))
def test_asynchronous_recall_as_in_loops(N, P, seed):
    """Whole numbers in the loops: so rounding decides nothing, not even where a field is 0."""
    patterns, probes = signs(P, N, seed=seed), signs(4, N, seed=seed + 1)
    generator, W = Generator(seed), hebbian_times_n(patterns)
    orders = [generator.permutation(N) for _ in range(4)]
    states, steps, period = (
        Hopfield(N).store(patterns).recall(probes, max_steps=4, generator=Generator(seed))
    )
    for b, probe in enumerate(probes):
        expected = asynchronous(W, probe, orders)
        assert (states[b].tolist(), steps[b].item(), period[b].item()) == expected


@settings(deadline=None, max_examples=60)
@given(N=st.integers(2, 40), P=st.integers(1, 12), seed=st.integers(0, 1000))
def test_synchronous_recall_as_in_loops(N, P, seed):
    patterns, probes = signs(P, N, seed=seed), signs(4, N, seed=seed + 1)
    W = hebbian_times_n(patterns)
    states, steps, period = Hopfield(N).store(patterns).recall(probes, "synchronous", 100)
    for b, probe in enumerate(probes):
        end, count, turns = synchronous(W, probe, 100)
        assert (steps[b].item(), period[b].item()) == (count, turns)
        other = [updated(W, end, i) for i in range(N)]  # of two states in turn, either
        assert states[b].tolist() in (end, other)


@RULE
@pytest.mark.parametrize("mode", ["asynchronous", "synchronous"])
def test_every_backend_gives_the_same(rule, mode):
    results = []
    for name in ("numpy", "strict"):
        with nnlib.use_backend(name):
            memory = Hopfield(70).store(signs(12, 70), rule)  # more neurons than go at a time
            probes = nnlib.tensor(flip(signs(12, 70), 10))
            result = memory.recall(probes, mode, generator=Generator(3))
            assert all(value.backend.name == name for value in result)
            results.append([value.numpy() for value in result])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(deadline=None, max_examples=40)
@given(
    N=st.integers(2, 40),
    load=st.floats(0.01, 1.5),
    seed=st.integers(0, 1000),
    rule=st.sampled_from(sorted(RULES)),
)
def test_energy_never_rises(N, load, seed, rule):
    memory = Hopfield(N).store(signs(max(1, round(load * N)), N, seed=seed), rule)
    state = nnlib.tensor(signs(3, N, seed=seed + 1))
    W = memory.weight.numpy().astype(float)
    before = [energy(W, s) for s in state.tolist()]
    np.testing.assert_allclose(memory.energy(state).numpy(), before, atol=1e-4)
    for i in Generator(seed).permutation(N):
        new = memory.update(state, [i])
        after = [energy(W, s) for s in new.tolist()]
        moved = (new != state).any(axis=1).tolist()
        for was, now, change in zip(before, after, moved, strict=True):
            assert now < was if change else now == was
        state, before = new, after


@RULE
@pytest.mark.parametrize("mode", ["asynchronous", "synchronous"])
def test_one_pattern(backend, rule, mode):
    """Field: overlap times pattern; so the sign of the overlap decides, and a step is enough."""
    pattern = signs(1, 21)
    memory = Hopfield(21).store(pattern, rule)
    probes = np.concatenate([flip(pattern, count) for count in (0, 1, 9, 12, 20, 21)])
    states, steps, period = memory.recall(nnlib.tensor(probes), mode)
    expected = np.concatenate([pattern] * 3 + [-pattern] * 3)
    np.testing.assert_array_equal(states.numpy(), expected)
    assert steps.tolist() == [0, 1, 1, 1, 1, 0]
    assert period.tolist() == [1] * 6
    np.testing.assert_array_equal(memory(nnlib.tensor(probes)).numpy(), expected)


def test_energy_of_a_pattern(backend):
    """−(N − 1)/2 for the only one, and the same with all signs turned."""
    pattern = signs(1, 21)
    memory = Hopfield(21).store(pattern)
    probes = nnlib.tensor(np.concatenate([pattern, -pattern]))
    np.testing.assert_allclose(memory.energy(probes).numpy(), [-10, -10], rtol=1e-6)


def test_a_field_of_zero_keeps_the_state(backend):
    memory = Hopfield(3).store([[1, 1, 1]])
    for first in (1, -1):
        probe = [[first, 1, -1]]
        assert memory.update(probe, [0]).tolist() == probe
    empty = Hopfield(5)
    states, steps, period = empty.recall(nnlib.tensor(signs(4, 5)))
    np.testing.assert_array_equal(states.numpy(), signs(4, 5))
    assert steps.tolist() == [0] * 4
    assert period.tolist() == [1] * 4


def test_two_states_in_turn(backend):
    memory = Hopfield(2).store([[1, 1]])
    probe = nnlib.tensor([[1, -1]])
    states, steps, period = memory.recall(probe, "synchronous")
    assert (steps.tolist(), period.tolist()) == ([0], [2])
    assert states.tolist()[0] in ([1, -1], [-1, 1])
    assert memory.recall(probe)[2].tolist() == [1], "one after the other it ends"


def test_giving_up(backend):
    memory = Hopfield(100).store(signs(30, 100))
    _, steps, period = memory.recall(nnlib.tensor(signs(6, 100, seed=9)), max_steps=1)
    assert steps.tolist() == [1] * 6
    assert period.tolist() == [0] * 6


@pytest.mark.parametrize("mode", ["asynchronous", "synchronous"])
def test_projection_stores_as_many_patterns_as_neurons(backend, mode):
    patterns = signs(24, 24)
    assert np.linalg.matrix_rank(patterns) == 24
    memory = Hopfield(24).store(patterns, "projection")
    states, steps, period = memory.recall(nnlib.tensor(patterns), mode)
    np.testing.assert_array_equal(states.numpy(), patterns)
    assert steps.tolist() == [0] * 24
    assert period.tolist() == [1] * 24


def test_projection_stores_what_hebb_cannot():
    """Patterns that resemble each other, one of them twice."""
    patterns = flip(np.repeat(signs(1, 60), 10, axis=0), 8)
    patterns = np.concatenate([patterns, patterns[:1]])
    projection = Hopfield(60).store(patterns, "projection")
    np.testing.assert_array_equal(projection(patterns).numpy(), patterns)
    assert (Hopfield(60).store(patterns)(patterns).numpy() != patterns).any(axis=1).all()


@RULE
def test_few_random_patterns_are_recalled_from_damaged_ones(backend, rule):
    patterns = signs(8, 200)
    memory = Hopfield(200).store(patterns, rule)
    probes = nnlib.tensor(flip(patterns, 40))
    for mode in ("asynchronous", "synchronous"):
        np.testing.assert_array_equal(memory.recall(probes, mode).states.numpy(), patterns)


def test_update_in_an_order_sees_what_came_before():
    memory, state = Hopfield(70).store(signs(9, 70)), signs(2, 70, seed=5)
    order = [*range(69, -1, -1), 3, 3, 5]
    expected = nnlib.tensor(state)
    for i in order:
        expected = memory.update(expected, [i])
    np.testing.assert_array_equal(memory.update(state, order).numpy(), expected.numpy())
    np.testing.assert_array_equal(state, signs(2, 70, seed=5))


def test_orders_come_from_the_generator():
    memory, probes = Hopfield(40).store(signs(12, 40)), signs(30, 40, seed=2)
    first, again, other = (
        memory.recall(probes, generator=Generator(seed)).states.numpy() for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    nnlib.manual_seed(1)
    np.testing.assert_array_equal(memory.recall(probes).states.numpy(), first)


def test_the_host_reads_one_value_a_step():
    with nnlib.use_backend("strict"):
        memory = Hopfield(40).store(signs(12, 40))
        probes = nnlib.tensor(signs(5, 40, seed=3))
        for mode in ("asynchronous", "synchronous"):
            with strict_backend.counting() as counts:
                _, steps, period = memory.recall(probes, mode, generator=Generator(0))
            taken = int((steps + period).numpy().max())
            assert taken > 1
            assert counts.reads == taken + 1, "and one to see whether all values are ±1"


def test_state_is_saved_loaded_and_moved(tmp_path):
    memory = Hopfield(30).store(signs(4, 30))
    assert list(memory.state_dict()) == ["weight"]
    assert not list(memory.parameters())
    nnlib.save(memory, tmp_path / "memory.safetensors")
    other = Hopfield(30)
    other.load_state_dict(nnlib.load(tmp_path / "memory.safetensors"))
    np.testing.assert_array_equal(other(signs(4, 30)).numpy(), memory(signs(4, 30)).numpy())
    other.to("strict")
    with nnlib.use_backend("strict"):
        moved = other(nnlib.tensor(signs(4, 30)))
    assert moved.backend.name == "strict"
    np.testing.assert_array_equal(moved.numpy(), signs(4, 30))
    with pytest.raises(StateError, match="weight"):
        Hopfield(31).load_state_dict(memory.state_dict())


def test_no_probes():
    states, steps, period = Hopfield(4).recall(np.ones((0, 4)))
    assert (states.shape, steps.shape, period.shape) == ((0, 4), (0,), (0,))


def test_arguments_are_checked(backend):
    memory = Hopfield(4)
    for size in (0, -1, 2.0, True):
        with pytest.raises(OptionError, match="size"):
            Hopfield(size)
    with pytest.raises(OptionError, match=r"rule .*'hebbian', 'projection'.*'oja'"):
        memory.store([[1, 1, 1, 1]], "oja")
    with pytest.raises(ShapeError, match=r"patterns must be \(batch, 4\).*\(1, 3\)"):
        memory.store([[1, 1, 1]])
    with pytest.raises(ShapeError, match="a pattern at least"):
        memory.store(nnlib.zeros(0, 4))
    with pytest.raises(OptionError, match=r"probes must be 1 and −1.*2 \* x - 1"):
        memory.recall([[0, 1, 1, 0]])
    with pytest.raises(OptionError, match="1 and −1"):
        memory.energy([[1.0, 1.0, float("nan"), 1.0]])
    with pytest.raises(ShapeError, match=r"\(4,\)"):
        memory([1, 1, 1, 1])
    with pytest.raises(OptionError, match="mode"):
        memory.recall([[1, 1, 1, 1]], "parallel")
    for steps in (0, 2.5):
        with pytest.raises(OptionError, match="max_steps"):
            memory.recall([[1, 1, 1, 1]], max_steps=steps)
    for neuron in (4, -1):
        with pytest.raises(OptionError, match=r"neurons must be in 0 … 3"):
            memory.update([[1, 1, 1, 1]], [neuron])


def test_recall_cannot_be_recorded():
    with pytest.raises(CaptureError, match="looks at its probes"):
        nnlib.compile(Hopfield(4))(nnlib.ones(1, 4))


def test_repr():
    assert repr(Hopfield(4)) == "Hopfield(4)"
    assert repr(ModernHopfield(np.ones((2, 3)), 8)) == "ModernHopfield(patterns=2, size=3, beta=8)"


# The continuous network --------------------------------------------------------------------------


def reals(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def softmax_average(X, state, beta):
    """One step, in loops."""
    scores = [beta * sum(x * s for x, s in zip(row, state, strict=True)) for row in X]
    weights = [np.exp(score - max(scores)) for score in scores]
    return [
        sum(w * row[i] for w, row in zip(weights, X, strict=True)) / sum(weights)
        for i in range(len(state))
    ]


def modern_energy(X, state, beta):
    lse = np.log(sum(np.exp(beta * (row @ state)) for row in X)) / beta
    longest = max(row @ row for row in X)
    return -lse + state @ state / 2 + np.log(len(X)) / beta + longest / 2


def test_one_step(backend):
    X, probes = reals(7, 5), reals(3, 5, seed=1)
    y = ModernHopfield(nnlib.tensor(X), beta=0.7)(nnlib.tensor(probes))
    expected = [softmax_average(X, probe, 0.7) for probe in probes]
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)


def test_a_step_is_attention(backend):
    X, probes = (nnlib.tensor(reals(*shape).astype("float32")) for shape in ((7, 5), (3, 5)))
    y = ModernHopfield(X, beta=0.7)(probes).numpy()
    direct = F.scaled_dot_product_attention(probes, X, X, scale=0.7).numpy()
    np.testing.assert_array_equal(y, direct)
    q, k = probes.reshape(1, 3, 1, 5), X.reshape(1, 7, 1, 5)
    operation = nnlib.ops.attention(q, k, k, scale=0.7)
    np.testing.assert_allclose(y, operation.numpy().reshape(3, 5), rtol=1e-6)


def test_steps_in_a_row():
    memory, probes = ModernHopfield(reals(7, 5), 0.7), reals(3, 5, seed=1)
    np.testing.assert_array_equal(
        memory(probes, steps=3).numpy(), memory(memory(memory(probes))).numpy()
    )


def test_large_beta_gives_the_nearest_pattern_and_small_beta_the_mean(backend):
    X = signs(30, 16).astype(float)
    probes = reals(8, 16, seed=1)
    nearest = X[[np.argmin([np.sum((x - p) ** 2) for x in X]) for p in probes]]
    stored, given_ = nnlib.tensor(X), nnlib.tensor(probes)
    np.testing.assert_allclose(ModernHopfield(stored, 1e4)(given_).numpy(), nearest, atol=1e-9)
    mean = np.tile(X.mean(axis=0), (8, 1))
    np.testing.assert_allclose(ModernHopfield(stored, 1e-9)(given_).numpy(), mean, atol=1e-6)


def test_many_more_patterns_than_neurons(backend):
    """1000 patterns in 64 neurons; a classical network is full with 9."""
    X = signs(1000, 64).astype("float32")
    probes = nnlib.tensor(flip(X, 8))
    states, _, period = ModernHopfield(nnlib.tensor(X), beta=1.0).recall(probes)
    assert period.numpy().all()
    assert (np.sign(states.numpy()) == X).all(axis=1).mean() > 0.99


def test_energy(backend):
    X, probes = reals(7, 5), reals(3, 5, seed=1)
    E = ModernHopfield(nnlib.tensor(X), beta=0.7).energy(nnlib.tensor(probes))
    np.testing.assert_allclose(E.numpy(), [modern_energy(X, p, 0.7) for p in probes], rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    N=st.integers(1, 8),
    P=st.integers(1, 8),
    beta=st.floats(0.01, 10),
    seed=st.integers(0, 1000),
)
def test_modern_energy_never_rises_and_is_bounded(N, P, beta, seed):
    X = reals(P, N, seed=seed)
    memory = ModernHopfield(X, beta)
    state, M2 = nnlib.tensor(reals(4, N, seed=seed + 1)), max(row @ row for row in X)
    before = memory.energy(state).numpy()
    for _ in range(5):
        state = memory(state)
        after = memory.energy(state).numpy()
        assert (after <= before + 1e-9).all()
        assert (after >= -1e-9).all()
        assert (after <= 2 * M2 + 1e-9).all(), "inside the patterns' convex hull (their lemma A1)"
        before = after


def test_recall_counts_steps_and_gives_up(backend):
    X = signs(5, 32).astype(float)
    memory = ModernHopfield(nnlib.tensor(X), beta=2.0)
    probes = nnlib.tensor(np.concatenate([X[:1], 0.2 * X[1:2], flip(X[2:3], 6)]))
    states, steps, period = memory.recall(probes)
    np.testing.assert_allclose(states.numpy(), X[:3], atol=1e-5)
    assert steps.tolist()[0] == 0
    assert all(0 < count < 5 for count in steps.tolist()[1:])
    assert period.tolist() == [1] * 3
    _, steps, period = memory.recall(probes, max_steps=1)
    assert (steps.tolist(), period.tolist()) == ([0, 1, 1], [1, 0, 0])


def test_recall_ends_at_a_fixed_point():
    memory = ModernHopfield(reals(6, 4), beta=1.0)
    states, _, period = memory.recall(reals(5, 4, seed=1), max_steps=1000, tolerance=1e-12)
    assert period.numpy().all()
    np.testing.assert_allclose(memory(states).numpy(), states.numpy(), atol=1e-11)


def test_gradients():
    probes, X = (nnlib.tensor(reals(*s), requires_grad=True) for s in ((3, 5), (4, 5)))
    memory = ModernHopfield(nn.Parameter(X.data), beta=0.7)
    function = lambda q, x: F.scaled_dot_product_attention(q, x, x, scale=0.7)  # noqa: E731
    for steps in (1, 3):
        assert nnlib.gradcheck(lambda q, n=steps: memory(q, steps=n), [probes])
    assert nnlib.gradcheck(memory.energy, [probes])
    memory(probes.detach()).sum().backward()
    function(probes.detach(), X).sum().backward()
    np.testing.assert_allclose(memory.patterns.grad.numpy(), X.grad.numpy(), rtol=1e-12)


def test_patterns_can_be_learned_by_a_compiled_step(backend):
    """Three patterns become the centres of three clouds."""
    centres = 2 * signs(3, 6).astype("float32")
    cloud = np.repeat(centres, 20, axis=0) + 0.3 * reals(60, 6).astype("float32")
    memory = ModernHopfield(nn.Parameter(cloud[::20] * 0.5), beta=1.0)
    optimizer = nnlib.optim.Adam(memory.parameters(), lr=0.1)

    @nnlib.compile
    def step(x):
        optimizer.zero_grad()
        loss = F.mse_loss(memory(x), x)
        loss.backward()
        optimizer.step()
        return loss

    x = nnlib.tensor(cloud)
    losses = [float(step(x).numpy()) for _ in range(60)]
    assert losses[-1] < 0.1 < losses[0]
    np.testing.assert_allclose(memory.patterns.numpy(), centres, atol=0.3)


def test_modern_state_is_saved_and_moved(tmp_path):
    memory = ModernHopfield(reals(7, 5).astype("float32"))
    assert list(memory.state_dict()) == ["patterns"]
    assert not list(memory.parameters())
    nnlib.save(memory, tmp_path / "memory.safetensors")
    other = ModernHopfield(nnlib.zeros(7, 5))
    other.load_state_dict(nnlib.load(tmp_path / "memory.safetensors"))
    other.to("strict")
    with nnlib.use_backend("strict"):
        moved = other(nnlib.tensor(reals(2, 5).astype("float32"))).numpy()
    expected = memory(reals(2, 5).astype("float32")).numpy()
    np.testing.assert_allclose(moved, expected, rtol=1e-5)


def test_modern_arguments_are_checked(backend):
    for beta in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="beta"):
            ModernHopfield([[1.0, 2.0]], beta)
    with pytest.raises(DTypeError, match="floating-point"):
        ModernHopfield([[1, 2]])
    for patterns in ([1.0, 2.0], nnlib.zeros(0, 3)):
        with pytest.raises(ShapeError, match="patterns"):
            ModernHopfield(patterns)
    memory = ModernHopfield([[1.0, 2.0]])
    with pytest.raises(ShapeError, match=r"\(batch, 2\).*\(1, 3\)"):
        memory([[1.0, 2.0, 3.0]])
    with pytest.raises(DTypeError, match="floating-point"):
        memory([[1, 2]])
    with pytest.raises(OptionError, match="steps"):
        memory([[1.0, 2.0]], steps=0)
    with pytest.raises(OptionError, match="max_steps"):
        memory.recall([[1.0, 2.0]], max_steps=0)
    with pytest.raises(OptionError, match="tolerance"):
        memory.recall([[1.0, 2.0]], tolerance=0)
