import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.data import DataLoader, TextWindows
from nnlib.errors import OptionError, ShapeError
from nnlib.models import GPT, GPTConfig
from nnlib.models.gpt import Cache
from nnlib.nn import functional as F

SMALL = {"vocab_size": 11, "context": 8, "layers": 2, "heads": 2, "width": 12}
POSITIONS = ["learned", "rotary"]


def tokens(*shape):
    return np.random.default_rng(0).integers(0, SMALL["vocab_size"], shape)


def test_parameters_of_gpt2():
    """124,439,808 in the smallest published model, 1,024 · 768 of them for positions."""
    with nn.init.skip():
        model = GPT(GPTConfig())
    assert sum(p.size for p in model.parameters()) == 124_439_808
    names = dict(model.named_parameters())
    assert names["h.11.attn.c_attn.weight"].shape == (3 * 768, 768)
    assert names["wpe.weight"].size == 1024 * 768


@pytest.mark.parametrize("positions", POSITIONS)
def test_logits(backend, positions):
    model = GPT(**SMALL, positions=positions)
    assert model(nnlib.tensor(tokens(3, 8))).shape == (3, 8, 11)


def test_initial_loss_is_that_of_knowing_nothing():
    model = GPT(**SMALL)
    others = np.random.default_rng(1).integers(0, 11, (16, 8))
    loss = F.cross_entropy(model(tokens(16, 8)), nnlib.tensor(others))
    assert float(loss) == pytest.approx(np.log(11), abs=0.1)


def test_tied_weights_are_one():
    tied, free = GPT(**SMALL), GPT(**SMALL, tied=False)
    assert tied.lm_head.weight is tied.wte.weight
    assert free.lm_head.weight is not free.wte.weight
    difference = [sum(p.size for p in model.parameters()) for model in (free, tied)]
    assert difference[0] - difference[1] == 11 * 12


@pytest.mark.parametrize("positions", POSITIONS)
def test_the_future_does_not_matter(positions):
    model, x = GPT(**SMALL, positions=positions), tokens(2, 8)
    other = x.copy()
    other[:, 5:] = (other[:, 5:] + 1) % 11
    a, b = model(x).numpy(), model(other).numpy()
    np.testing.assert_allclose(a[:, :5], b[:, :5], atol=1e-6)
    assert np.abs(a[:, 5:] - b[:, 5:]).max() > 1e-3


def test_rotary_positions_are_relative():
    """Moving a whole text changes nothing, once its first token sees no other."""
    model = GPT(**{**SMALL, "context": 16}, positions="rotary")
    x = tokens(2, 6)
    cache = Cache(model.config, 2, model.wte.weight)
    cache.length = 5  # five positions of zero keys: only the angles move
    q = nnlib.randn(2, 6, 2, 6)
    attn = model.h[0].attn
    here, there = attn._turn(q, 0).numpy(), attn._turn(q, 5).numpy()
    near = np.einsum("bthd,bshd->bhts", here, here)
    np.testing.assert_allclose(np.einsum("bthd,bshd->bhts", there, there), near, atol=1e-4)
    assert model(x).shape == (2, 6, 11)


@pytest.mark.parametrize("positions", POSITIONS)
def test_gradients(positions):
    sizes = {**SMALL, "layers": 1, "width": 8, "vocab_size": 5}
    model = GPT(**sizes, positions=positions).astype("float64")
    x = tokens(2, 4) % 5
    parameters = list(model.parameters())
    weights = nnlib.tensor(np.cos(np.arange(40.0)).reshape(2, 4, 5))
    assert nnlib.gradcheck(lambda *_: (model(x) * weights).sum(), parameters, atol=1e-6)


@pytest.mark.parametrize("positions", POSITIONS)
def test_cache_changes_nothing(backend, positions):
    model = GPT(**SMALL, positions=positions).eval()
    x = nnlib.tensor(tokens(3, 8))
    expected = model(x).numpy()
    cache, found = Cache(model.config, 3, model.wte.weight), []
    for start, stop in ((0, 3), (3, 4), (4, 8)):
        with nnlib.no_grad():
            found.append(model(x[:, start:stop], cache).numpy())
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=2e-6)


def test_generation_continues_the_text_greedily(backend):
    model, x = GPT(**SMALL).eval(), nnlib.tensor(tokens(2, 3))
    y = model.generate(x, 4, temperature=0).numpy()
    assert y.shape == (2, 7)
    np.testing.assert_array_equal(y[:, :3], x.numpy())
    for length in range(3, 7):
        logits = model(nnlib.tensor(y[:, :length], backend=nnlib.get_backend())).numpy()
        np.testing.assert_array_equal(y[:, length], logits[:, -1].argmax(axis=-1))


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("length", [1, 8, 20])
def test_generation_goes_on_past_the_context(backend, length, positions):
    model = GPT(**SMALL, positions=positions).eval()
    given = nnlib.tensor(tokens(2, length), backend=backend)
    assert model.generate(given, 30, top_k=3, top_p=0.9).shape == (2, length + 30)


def test_sampling_is_reproducible():
    model = GPT(**SMALL).eval()
    drawn = []
    for seed in (1, 1, 2):
        generator = nnlib.random.Generator(seed)
        drawn.append(model.generate(tokens(2, 3), 20, generator=generator).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_dropout_in_training_only():
    model = GPT(**SMALL, dropout=0.3)
    x = tokens(2, 4)
    assert (model(x).numpy() != model(x).numpy()).any()
    model.eval()
    assert (model(x).numpy() == model(x).numpy()).all()


def test_learns_to_copy(backend):
    """Each token is the one two places before: attention must find it."""
    nnlib.manual_seed(1)
    model = GPT(**{**SMALL, "width": 16})
    optimizer = nnlib.optim.AdamW(model.parameters(), lr=1e-2)
    pairs = np.random.default_rng(0).integers(0, 11, (32, 2))
    x = nnlib.tensor(np.tile(pairs, (1, 4)))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[:, 1:-1], x[:, 2:])
        loss.backward()
        optimizer.step()
        losses.append(float(loss.numpy()))
    assert losses[-1] < losses[0] / 3


@pytest.mark.parametrize("positions", POSITIONS)
def test_compiled_training_is_the_same(positions):
    """With dropout, whose masks change from step to step."""
    windows, losses = TextWindows(tokens(200), 8), []
    for compile in (False, True):
        nnlib.manual_seed(4)
        model = GPT(**SMALL, dropout=0.2, positions=positions)
        optimizer = nnlib.optim.AdamW(model.parameters(), lr=1e-2)
        options = {"clip_norm": 1.0, "compile": compile, "progress": False}
        trainer = nnlib.Trainer(model, "cross_entropy", optimizer, **options)
        loader = DataLoader(windows, 8, shuffle=True, batches_per_epoch=6)
        losses.append(trainer.fit(loader, val=windows).step_losses)
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 6


def test_forward_and_backward_read_nothing(backend):
    if backend.name != "strict":
        pytest.skip("counts reads")
    from strict_backend import counting

    model, x = GPT(**SMALL, dropout=0.1), nnlib.tensor(tokens(2, 8))
    with counting() as counts:
        F.cross_entropy(model(x), x).backward()
    assert counts.reads == 0


def test_options_are_checked():
    for wrong in ({"width": 13}, {"layers": 0}, {"positions": "none"}):
        with pytest.raises(OptionError):
            GPTConfig(**{**SMALL, **wrong})
    with pytest.raises(OptionError, match="rotary"):
        GPTConfig(**{**SMALL, "width": 6}, positions="rotary")
    with pytest.raises(OptionError, match="both"):
        GPT(GPTConfig(), layers=2)
    model = GPT(**SMALL)
    with pytest.raises(ShapeError, match="at most 8"):
        model(tokens(2, 9))
    with pytest.raises(ShapeError, match="batch, time"):
        model(tokens(4))


@pytest.mark.parametrize("positions", POSITIONS)
def test_all_that_flows_between_blocks_is_16_bits_wide_under_autocast(backend, positions):
    model = GPT(**SMALL, positions=positions, dropout=0.1)
    blocks = list(model.h)
    arguments = (nnlib.tensor(tokens(3, 8)),)
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
