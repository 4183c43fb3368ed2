import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, ShapeError
from nnlib.models import Transformer, TransformerConfig
from nnlib.models.transformer import DecoderCache
from nnlib.nn import functional as F

SMALL = {"vocab_size": 11, "context": 12, "layers": 2, "heads": 2, "width": 12, "hidden": 20}
POSITIONS = ["sinusoidal", "learned"]


def make(**options):
    return Transformer(**{**SMALL, "dropout": 0.0, **options})


def tokens(*shape, seed=0):
    """Words only: 3 … 10."""
    return np.random.default_rng(seed).integers(3, SMALL["vocab_size"], shape)


def targets(*shape):
    y = tokens(*shape, seed=1)
    y[:, 0] = 1
    return y


@pytest.mark.parametrize("positions", POSITIONS)
def test_logits(backend, positions):
    model = make(positions=positions)
    logits = model(nnlib.tensor(tokens(3, 8)), nnlib.tensor(targets(3, 5)))
    assert logits.shape == (3, 5, 11)
    assert logits.backend is backend


def test_parameters():
    """One table for both sides and the output, and what PyTorch's layers have."""
    count = {name: p.size for name, p in make().named_parameters()}
    attention, small = 4 * (12 * 12 + 12), 20 * 12 + 20 + 12 * 20 + 12
    encoder, decoder = attention + small + 2 * 24, 2 * attention + small + 3 * 24
    assert sum(count.values()) == 11 * 12 + 2 * encoder + 2 * decoder + 2 * 24
    assert count["embedding.weight"] == 11 * 12


def test_initial_loss_is_about_that_of_knowing_nothing():
    model = make()  # a little more: tied embeddings make a token likely to follow itself
    loss = F.cross_entropy(model(tokens(16, 8), targets(16, 8)), nnlib.tensor(tokens(16, 8)))
    assert np.log(11) - 0.1 < float(loss) < np.log(11) + 1.5


def test_sinusoidal_positions():
    """Formula (5) of Vaswani et al.'s section 3.5, sines first."""
    table = make().table.numpy()
    assert table.shape == (12, 12)
    for position, i in ((0, 0), (5, 2), (11, 5)):
        angle = position / 10000 ** (2 * i / 12)
        assert table[position, i] == pytest.approx(np.sin(angle), abs=1e-6)
        assert table[position, 6 + i] == pytest.approx(np.cos(angle), abs=1e-6)
    assert "table" not in make().state_dict()


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("padded", [False, True])
def test_as_pytorchs_transformer(padded):
    torch = pytest.importorskip("torch")
    model = make().astype("float64")
    for p in model.parameters():  # biases too, which start as 0
        p.data[...] += 0.1 * np.random.default_rng(p.size).standard_normal(p.shape)
    peer = torch.nn.Transformer(
        12, 2, 2, 2, 20, dropout=0.0, batch_first=True, norm_first=True, dtype=torch.float64
    )
    inner = {k: v for k, v in model.state_dict().items() if not k.startswith("embedding")}
    peer.load_state_dict({k: torch.tensor(v.numpy()) for k, v in inner.items()})
    source, target = tokens(3, 7), targets(3, 5)
    if padded:
        source[1, 4:] = source[2, 1:] = 0
    table = torch.tensor(model.embedding.weight.numpy(), requires_grad=True)
    waves = torch.tensor(model.table.numpy(), dtype=torch.float64)

    def embed(x):
        return table[torch.tensor(x)] * 12**0.5 + waves[: x.shape[1]]

    hidden = torch.tensor(source == 0)
    y = peer(
        embed(source),
        embed(target),
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64),
        src_key_padding_mask=hidden,
        memory_key_padding_mask=hidden,
        tgt_is_causal=True,
    )
    expected = y @ table.T
    logits = model(source, target)
    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), atol=1e-10)
    weights = np.cos(np.arange(3 * 5 * 11.0)).reshape(3, 5, 11)
    (logits * nnlib.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    mine = dict(model.named_parameters())
    np.testing.assert_allclose(mine["embedding.weight"].grad.numpy(), table.grad.numpy(), atol=1e-9)
    for name, parameter in peer.named_parameters():
        np.testing.assert_allclose(mine[name].grad.numpy(), parameter.grad.numpy(), atol=1e-9)


def test_gradients():
    model = make(layers=1, width=4, hidden=6, vocab_size=6, context=5).astype("float64")
    source, target = tokens(2, 4) % 3 + 3, targets(2, 3) % 6
    source[0, 2:] = 0
    weights = nnlib.tensor(np.cos(np.arange(36.0)).reshape(2, 3, 6))
    assert nnlib.gradcheck(
        lambda *_: (model(source, target) * weights).sum(), list(model.parameters()), atol=1e-6
    )


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_changes_nothing(backend, positions):
    model = make(positions=positions)
    source, target = tokens(2, 5), targets(2, 4)
    expected = model(nnlib.tensor(source), nnlib.tensor(target)).numpy()
    source = np.pad(source, ((0, 1), (0, 3)))  # a row of padding alone, too
    target = np.pad(target, ((0, 1), (0, 2)))
    found = model(nnlib.tensor(source), nnlib.tensor(target)).numpy()
    np.testing.assert_allclose(found[:2, :4], expected, atol=2e-6)
    assert np.isfinite(found).all()


def test_the_future_does_not_matter_and_the_source_does():
    model, source, target = make(), tokens(2, 6), targets(2, 8)
    other = target.copy()
    other[:, 5:] = tokens(2, 3, seed=7)
    a, b = model(source, target).numpy(), model(source, other).numpy()
    np.testing.assert_allclose(a[:, :5], b[:, :5], atol=1e-6)
    assert np.abs(a[:, 5:] - b[:, 5:]).max() > 1e-3
    source[:, 5] = (source[:, 5] - 2) % 8 + 3
    assert np.abs(model(source, target).numpy()[:, 0] - a[:, 0]).max() > 1e-4


@pytest.mark.parametrize("positions", POSITIONS)
def test_cache_changes_nothing(backend, positions):
    model = make(positions=positions).eval()
    source, target = tokens(3, 7), targets(3, 8)
    source[1, 4:] = 0
    source, target = nnlib.tensor(source), nnlib.tensor(target)
    expected = model(source, target).numpy()
    with nnlib.no_grad():
        cache = DecoderCache(model, *model.encode(source))
        found = [
            model.decode_next(target[:, start:stop], cache).numpy()
            for start, stop in ((0, 1), (1, 2), (2, 6), (6, 8))
        ]
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=2e-6)


def test_alignment(backend):
    model = make().eval()
    source = tokens(2, 6)
    source[1, 4:] = 0
    for layer in (0, 1, -1):
        weights = model.alignment(nnlib.tensor(source), nnlib.tensor(targets(2, 5)), layer).numpy()
        assert weights.shape == (2, 5, 6)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
        assert (weights[1, :, 4:] == 0).all()


def test_dropout_in_training_only():
    model, x, y = make(dropout=0.3, attention_dropout=0.2), tokens(2, 4), targets(2, 4)
    assert (model(x, y).numpy() != model(x, y).numpy()).any()
    model.eval()
    assert (model(x, y).numpy() == model(x, y).numpy()).all()


def test_learns_to_reverse(backend):
    """What the decoder must copy is at the other end of the source."""
    nnlib.manual_seed(1)
    model = make(width=32, hidden=32, layers=1)
    optimizer = nnlib.optim.AdamW(model.parameters(), lr=5e-3)
    source = tokens(64, 4)
    reverse = source[:, ::-1]
    x, y_in = (
        nnlib.tensor(source),
        nnlib.tensor(np.pad(reverse, ((0, 0), (1, 0)), constant_values=1)),
    )
    y_out = nnlib.tensor(np.pad(reverse, ((0, 0), (0, 1)), constant_values=2))

    @nnlib.compile
    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, y_in), y_out)
        loss.backward()
        optimizer.step()
        return loss

    losses = [float(step().numpy()) for _ in range(60 if backend.name == "numpy" else 12)]
    assert losses[-1] < losses[0] / (10 if backend.name == "numpy" else 1.2)
    if backend.name == "numpy":
        written = model.eval().generate(x, 6).numpy()
        assert (written[:, :4] == reverse).all(axis=1).mean() > 0.9


def test_forward_and_backward_read_nothing(backend):
    if backend.name != "strict":
        pytest.skip("counts reads")
    from strict_backend import counting

    model, loss = make(dropout=0.1), nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1)
    x, y = nnlib.tensor(tokens(2, 8)), nnlib.tensor(targets(2, 8))
    with counting() as counts:
        loss(model(x, y), y).backward()
    assert counts.reads == 0


def test_options_are_checked():
    for wrong in ({"width": 13}, {"layers": 0}, {"positions": "none"}, {"dropout": 2}):
        with pytest.raises(OptionError):
            TransformerConfig(**{**SMALL, **wrong})
    for special in ({"end": 1}, {"padding": 11}):
        with pytest.raises(OptionError, match="three of the 11 tokens"):
            TransformerConfig(**SMALL, **special)
    with pytest.raises(OptionError, match="both"):
        Transformer(TransformerConfig(**SMALL), layers=2)
    model = make()
    with pytest.raises(ShapeError, match="at most 12"):
        model(tokens(2, 13), targets(2, 3))
    with pytest.raises(ShapeError, match="batch, time"):
        model(tokens(4), targets(2, 3))
    for wrong in ({"beam": 0}, {"beam": 10}, {"max_new_tokens": 0}, {"max_new_tokens": 13}):
        with pytest.raises(OptionError, match="must be in 1 …"):
            model.generate(tokens(2, 3), **wrong)


@pytest.mark.parametrize("positions", POSITIONS)
def test_all_that_flows_between_blocks_is_16_bits_wide_under_autocast(backend, positions):
    model = make(positions=positions, dropout=0.1)
    blocks = [*model.encoder.layers, *model.decoder.layers]
    arguments = (nnlib.tensor(tokens(3, 8)), nnlib.tensor(targets(3, 5)))
    seen = []
    for block in blocks:
        block.register_forward_hook(lambda module, args, y: seen.append((args[0], y)))
    with nnlib.autocast("fp16"):
        logits = model(*arguments)
    dtypes = {x.dtype.name for pair in seen for x in pair} | {logits.dtype.name}
    assert len(seen) == len(blocks)
    assert dtypes == {"float16"}
    logits.astype("float32").sum().backward()
    assert all(p.grad.dtype.name == "float32" for p in model.parameters())
