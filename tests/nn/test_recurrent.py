import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, OptionError, ShapeError

LAYERS = [nn.RNN, nn.GRU, nn.LSTM]
B, T, D, H = 3, 5, 4, 6


def states(result):
    """The final states of any layer as a list."""
    return list(result[1]) if isinstance(result[1], tuple) else [result[1]]


def start_for(layer, *arrays):
    return tuple(arrays) if isinstance(layer, nn.LSTM) else arrays[0]


@pytest.mark.parametrize("kind", LAYERS)
def test_shapes(kind, backend, place):
    layer = kind(D, H, num_layers=2, bidirectional=True)
    result = layer(place(np.ones((B, T, D))))
    assert result[0].shape == (B, T, 2 * H)
    assert all(state.shape == (4, B, H) for state in states(result))


@pytest.mark.parametrize("kind", LAYERS)
def test_names_are_pytorchs(kind):
    names = [name for name, _ in kind(D, H, num_layers=2, bidirectional=True).named_parameters()]
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    suffixes = ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
    assert names == [part + suffix for suffix in suffixes for part in parts]
    assert len(list(kind(D, H, bias=False).parameters())) == 2


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients(kind, bidirectional, double):
    layer = double(kind(2, 3, num_layers=2, bidirectional=bidirectional))
    rng = np.random.default_rng(0)
    x = nnlib.tensor(rng.standard_normal((2, 3, 2)), requires_grad=True)
    count = 2 if kind is nn.LSTM else 1
    shape = (4 if bidirectional else 2, 2, 3)
    starts = [nnlib.tensor(rng.standard_normal(shape), requires_grad=True) for _ in range(count)]

    def run(x, *others):
        result = layer(x, start_for(layer, *others[:count]), lengths=[3, 2])
        return nnlib.concatenate([result[0].reshape(-1), *(s.reshape(-1) for s in states(result))])

    assert nnlib.gradcheck(run, [x, *starts, *layer.parameters()])


@pytest.mark.parametrize("kind", LAYERS)
def test_lengths_are_as_if_each_sequence_were_alone(kind, backend, place):
    layer = kind(D, H, num_layers=2, bidirectional=True)
    x, lengths = np.random.default_rng(0).standard_normal((B, T, D)), [5, 2, 3]
    together = layer(place(x), lengths=lengths)
    for b, length in enumerate(lengths):
        alone = layer(place(x[b : b + 1, :length]))
        y = together[0].numpy()[b]
        np.testing.assert_allclose(y[:length], alone[0].numpy()[0], atol=1e-6)
        assert (y[length:] == 0).all()
        for ours, expected in zip(states(together), states(alone), strict=True):
            np.testing.assert_allclose(ours.numpy()[:, b], expected.numpy()[:, 0], atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_long_sequence_in_pieces(kind):
    """The final state of one piece is the initial state of the next; detached, it cuts history."""
    layer, x = kind(D, H, num_layers=2), nnlib.randn(B, T, D)
    whole = layer(x)
    first = layer(x[:, :2])
    second = layer(x[:, 2:], start_for(layer, *states(first)))
    pieces = nnlib.concatenate([first[0], second[0]], axis=1)
    np.testing.assert_allclose(pieces.numpy(), whole[0].numpy(), atol=1e-6)
    layer.zero_grad()
    cut = start_for(layer, *(state.detach() for state in states(first)))
    (layer(x[:, 2:], cut)[0] ** 2).sum().backward()
    truncated = layer.weight_ih_l0.grad.numpy()
    layer.zero_grad()
    (second[0] ** 2).sum().backward()
    assert np.abs(layer.weight_ih_l0.grad.numpy() - truncated).max() > 1e-4


def test_dropout_is_between_layers_in_training_only():
    x = nnlib.ones(B, T, D)
    single, double = nn.GRU(D, H, dropout=0.9), nn.GRU(D, H, num_layers=2, dropout=0.9)
    assert (single(x)[0].numpy() == single(x)[0].numpy()).all()
    assert (double(x)[0].numpy() != double(x)[0].numpy()).any()
    double.eval()
    assert (double(x)[0].numpy() == double(x)[0].numpy()).all()


def test_peepholes_let_the_gates_see_the_cell():
    layer = nn.LSTM(D, H, peepholes=True)
    plain = nn.LSTM(D, H)
    state = layer.state_dict()
    plain.load_state_dict({n: v for n, v in state.items() if "peephole" not in n})
    x = nnlib.randn(B, T, D)
    assert np.abs((layer(x)[0] - plain(x)[0]).numpy()).max() > 1e-3
    nn.init.zeros_(layer.weight_peephole_l0)
    np.testing.assert_allclose(layer(x)[0].numpy(), plain(x)[0].numpy(), atol=1e-6)
    assert "peepholes=True" in repr(layer)


def test_forward_and_backward_read_nothing(backend):
    """A step that is to be compiled must not wait for the device."""
    if backend.name != "strict":
        pytest.skip("counts reads")
    from strict_backend import counting

    layer, x = nn.LSTM(D, H, num_layers=2, bidirectional=True), nnlib.randn(B, T, D)
    lengths = nnlib.tensor(np.array([5, 2, 3]), backend=backend)
    with counting() as counts:
        y, (h, c) = layer(x, lengths=lengths)
        (y.sum() + h.sum() + c.sum()).backward()
    assert counts.reads == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_layers": 0}, OptionError),
        ({"dropout": 2.0}, OptionError),
        ({"batch_first": False}, OptionError),
    ],
    ids=str,
)
def test_options_are_checked(options, error):
    with pytest.raises(error):
        nn.LSTM(D, H, **options)


def test_arguments_are_checked():
    layer = nn.LSTM(D, H)
    x = nnlib.ones(B, T, D)
    with pytest.raises(OptionError, match="nonlinearity"):
        nn.RNN(D, H, nonlinearity="sine")
    for shape in ((B, D), (B, T, D + 1), (B, 0, D)):
        with pytest.raises(ShapeError, match="the input must be"):
            layer(nnlib.ones(*shape))
    with pytest.raises(ShapeError, match="a state must be"):
        layer(x, (nnlib.ones(1, B, H), nnlib.ones(B, H)))
    with pytest.raises(OptionError, match="pair"):
        layer(x, nnlib.ones(1, B, H))
    with pytest.raises(DTypeError, match="lengths"):
        layer(x, lengths=[1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="lengths"):
        layer(x, lengths=[1, 2])
    with pytest.raises(OptionError, match="lengths"):
        layer(x, lengths=[1, 2, T + 1])


@pytest.mark.peers
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["RNN", "RNN-relu", "GRU", "LSTM"])
def test_is_pytorchs(name, bias, lengths, bidirectional, double):
    torch = pytest.importorskip("torch")
    name, _, nonlinearity = name.partition("-")
    options = {"num_layers": 2, "bias": bias, "bidirectional": bidirectional}
    if nonlinearity:
        options["nonlinearity"] = nonlinearity
    ours = double(getattr(nn, name)(D, H, **options))
    theirs = getattr(torch.nn, name)(D, H, batch_first=True, dtype=torch.float64, **options)
    theirs.load_state_dict({n: torch.tensor(v.numpy()) for n, v in ours.state_dict().items()})
    rng = np.random.default_rng(0)
    x = rng.standard_normal((B, T, D))
    starts = [rng.standard_normal((4 if bidirectional else 2, B, H)) for _ in range(2)]
    pair = name == "LSTM"
    a = ours(nnlib.tensor(x), start_for(ours, *map(nnlib.tensor, starts)), lengths)
    peer = tuple(torch.tensor(s) for s in starts) if pair else torch.tensor(starts[0])
    other = torch.tensor(x)
    if lengths is None:
        b = theirs(other, peer)
    else:
        pack = torch.nn.utils.rnn.pack_padded_sequence
        packed, final = theirs(pack(other, lengths, True, enforce_sorted=False), peer)
        b = (torch.nn.utils.rnn.pad_packed_sequence(packed, True)[0], final)
    loss, loss_too = 0, 0
    for k, (u, v) in enumerate(zip([a[0], *states(a)], [b[0], *states(b)], strict=True)):
        np.testing.assert_allclose(u.numpy(), v.detach().numpy(), atol=1e-12)
        loss, loss_too = loss + (u**2).sum() * (k + 1), loss_too + (v**2).sum() * (k + 1)
    loss.backward()
    loss_too.backward()
    for (label, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-10, err_msg=label)


@pytest.mark.parametrize("kind", LAYERS)
def test_compiled_steps_with_everything_are_the_function_bit_by_bit(kind):
    """Layers, directions, dropout, initial states, peepholes, and lengths that change."""
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3}
    if kind is nn.LSTM:
        options["peepholes"] = True
    recorded = []

    def trained(compiled):
        nnlib.manual_seed(3)
        layer = kind(D, H, **options)
        optimizer = nnlib.optim.Adam(layer.parameters(), lr=0.01)

        def step(x, lengths, start):
            recorded.append(compiled)
            optimizer.zero_grad()
            result = layer(x, start_for(layer, *[start] * len(starts)), lengths)
            loss = (result[0] ** 2).mean() + sum((s**2).mean() for s in states(result))
            loss.backward()
            optimizer.step()
            return loss

        starts = (0, 1) if kind is nn.LSTM else (0,)
        run = nnlib.compile(step) if compiled else step
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(6):
            x = rng.standard_normal((B, T, D)).astype(np.float32)
            start = rng.standard_normal((4, B, H)).astype(np.float32)
            lengths = rng.integers(0, T + 1, B)
            losses.append(run(*map(nnlib.tensor, (x, lengths, start))).item())
        return losses, [p.numpy() for p in layer.parameters()]

    (losses, parameters), (others, their_parameters) = trained(True), trained(False)
    assert losses == others
    assert recorded.count(True) == 2, "one kind of batch, whatever the lengths"
    for p, q in zip(parameters, their_parameters, strict=True):
        np.testing.assert_array_equal(p, q)


def test_a_replay_refuses_wrong_lengths():
    layer = nn.GRU(D, H)
    run = nnlib.compile(lambda x, lengths: layer(x, lengths=lengths)[0])
    x = nnlib.ones(B, T, D)
    for _ in range(3):
        run(x, nnlib.tensor([1, 2, 3]))
    with pytest.raises(OptionError, match="lengths"):
        run(x, nnlib.tensor([1, 2, T + 1]))


@pytest.mark.peers
@pytest.mark.parametrize("kind", LAYERS)
def test_compiled_truncated_training_is_pytorchs(kind, double):
    """A long sequence in pieces: each step starts from the detached state of the one before."""
    torch = pytest.importorskip("torch")
    ours = double(kind(D, H, num_layers=2))
    theirs = getattr(torch.nn, kind.__name__)(D, H, 2, batch_first=True, dtype=torch.float64)
    theirs.load_state_dict({n: torch.tensor(v.numpy()) for n, v in ours.state_dict().items()})
    optimizer = nnlib.optim.SGD(ours.parameters(), lr=0.1)
    other = torch.optim.SGD(theirs.parameters(), lr=0.1)

    @nnlib.compile
    def step(x, *state):
        optimizer.zero_grad()
        result = ours(x, start_for(ours, *state))
        (result[0] ** 2).sum().backward()
        optimizer.step()
        return [s.detach() for s in states(result)]

    rng = np.random.default_rng(0)
    state = [nnlib.zeros(2, B, H, dtype="float64")] * (2 if kind is nn.LSTM else 1)
    peer = None
    for number in range(5):
        x = rng.standard_normal((B, T, D))
        state = step(nnlib.tensor(x), *state)
        other.zero_grad()
        y, peer = theirs(torch.tensor(x), peer)
        (y**2).sum().backward()
        peer = tuple(s.detach() for s in peer) if kind is nn.LSTM else peer.detach()
        for (label, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            message = f"{label}, piece {number}"
            np.testing.assert_allclose(
                p.grad.numpy(), q.grad.numpy(), atol=1e-9, rtol=1e-9, err_msg=message
            )
        other.step()
