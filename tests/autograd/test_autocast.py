"""Mixed precision: dtypes by the table of policies, the same numbers as float32 up to rounding."""

import re
from pathlib import Path

import numpy as np
import pytest

import nnlib
from nnlib import nn, ops, optim
from nnlib.autograd.autocast import POLICIES
from nnlib.errors import MissingExtraError, OptionError
from nnlib.nn import functional as F
from nnlib_backends.dtypes import tf32_allowed

EPS = {"bf16": 2.0**-8, "fp16": 2.0**-11}
NAME = {"bf16": "bfloat16", "fp16": "float16"}


@pytest.fixture(params=["bf16", "fp16"])
def precision(request):
    if request.param == "bf16":
        pytest.importorskip("ml_dtypes")
    return request.param


def rand(*shape):
    return nnlib.randn(*shape)


def test_every_name_in_the_table_is_an_operation():
    known = {name for name in dir(ops) if hasattr(getattr(ops, name), "arrays")}
    assert set(POLICIES) <= known
    for name, policy in POLICIES.items():
        assert set(policy.data) <= set(getattr(ops, name).arrays), name


def test_the_documented_table_is_this_one():
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    rows = text.partition("What becomes of each operation")[2].split("\n| all others")[0]
    named = {}
    for row in rows.splitlines():
        cells = row.split("|")
        if len(cells) > 4:
            named |= dict.fromkeys(re.findall("`(\\w+)`", cells[1]), cells[4])
    assert set(named) == set(POLICIES)
    for name, policy in POLICIES.items():
        words = {"half": "16 bits", "same": "as wide", "float32": "**float32**"}
        assert words[policy.result] in named[name], name


def test_products_are_16_bits_wide_and_parameters_stay(backend, precision):
    layer, x = nn.Linear(5, 4), rand(3, 5)
    with nnlib.autocast(precision):
        y = layer(x)
    assert y.dtype.name == NAME[precision]
    rounded = [a.astype(NAME[precision]).astype("float32") for a in (x, layer.weight, layer.bias)]
    expected = F.linear(*rounded).numpy()
    np.testing.assert_allclose(
        y.astype("float32").numpy(), expected, rtol=2 * EPS[precision], atol=1e-2
    )
    assert not np.allclose(y.astype("float32").numpy(), layer(x).numpy(), rtol=1e-6, atol=0)
    y.sum().backward()
    assert {p.dtype.name for p in layer.parameters()} == {"float32"}
    assert {p.grad.dtype.name for p in layer.parameters()} == {"float32"}


def models():
    yield (
        "mlp",
        nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3)),
        (6, 12),
    )
    yield (
        "conv",
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(16, 3),
        ),
        (6, 4, 4, 2),
    )  # fmt: skip
    yield (
        "silu",
        nn.Sequential(nn.Linear(12, 8), nn.SiLU(), nn.RMSNorm(8), nn.Linear(8, 3)),
        (6, 12),
    )


@pytest.mark.parametrize("which", [0, 1, 2], ids=["mlp", "conv", "silu"])
def test_gradients_are_those_of_float32_up_to_rounding(backend, precision, which):
    nnlib.manual_seed(1)
    _, model, shape = list(models())[which]
    x, labels = rand(*shape), nnlib.tensor([0, 1, 2, 0, 1, 2])

    def gradients():
        for p in model.parameters():
            p.grad = None
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        return loss, [p.grad.numpy().copy() for p in model.parameters()]

    loss, expected = gradients()
    with nnlib.autocast(precision):
        low, actual = gradients()
    assert low.dtype.name == "float32"
    assert abs(float(low) - float(loss)) < 8 * EPS[precision]
    for a, e in zip(actual, expected, strict=True):
        scale = max(np.abs(e).max(), 0.05)
        assert np.abs(a - e).max() < 24 * EPS[precision] * scale
        assert a.dtype == np.float32


def test_losses_reductions_and_exponentials_are_float32(backend, precision):
    x = rand(4, 3).astype(NAME[precision])
    with nnlib.autocast(precision):
        for y in (
            x.sum(), x.mean(axis=0), ops.exp(x), ops.softmax(x), ops.log_softmax(x), x**2,
            F.cross_entropy(x, nnlib.tensor([0, 1, 2, 0])), F.mse_loss(x, rand(4, 3)),
            F.binary_cross_entropy_with_logits(x, nnlib.zeros(4, 3)),
        ):  # fmt: skip
            assert y.dtype.name == "float32"
        for y in (ops.tanh(x), F.gelu(x), F.relu(x), F.layer_norm(x, (3,)), x + x, x * 2, x[1:]):
            assert y.dtype.name == NAME[precision]
        assert (x + rand(4, 3)).dtype.name == "float32"


def test_attention_embedding_and_recurrent_layers(backend, precision):
    attention, table, cell = nn.MultiheadAttention(8, 2), nn.Embedding(7, 8), nn.LSTM(8, 6)
    with nnlib.autocast(precision):
        x = table(nnlib.tensor([[1, 2, 3]]))
        y, _ = attention(x, x, x, is_causal=True)
        z, _ = cell(y)
        loss = z.sum()
    assert {t.dtype.name for t in (x, y, z)} == {NAME[precision]}
    loss.backward()
    for p in [*attention.parameters(), *table.parameters(), *cell.parameters()]:
        assert p.grad.dtype.name == "float32"
        assert np.isfinite(p.grad.numpy()).all()


def test_inside_and_outside(backend):
    layer, x = nn.Linear(2, 2), rand(1, 2)

    @nnlib.autocast("fp16")
    def decorated(x):
        with nnlib.autocast("fp16", enabled=False):
            assert layer(x).dtype.name == "float32"
        return layer(x)

    assert decorated(x).dtype.name == "float16"
    assert layer(x).dtype.name == "float32"
    context = nnlib.autocast("fp16")
    with context, context:
        assert layer(x).dtype.name == "float16"
    assert layer(x).dtype.name == "float32"


def test_float64_is_left_alone(backend):
    layer = nn.Linear(2, 2).astype("float64")
    with nnlib.autocast("fp16"):
        assert layer(rand(1, 2).astype("float64")).dtype.name == "float64"


def test_derivatives_of_derivatives(backend, precision):
    x = nnlib.tensor([0.5, -1.0], requires_grad=True)
    w = nnlib.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    with nnlib.autocast(precision):
        y = (ops.linear(x, w) ** 3).sum()
    y.backward(create_graph=True)
    g, x.grad = x.grad, None
    g.sum().backward()
    z = w.numpy() @ x.numpy()
    expected = w.numpy().T @ (6 * z[:, None] * w.numpy()).sum(1)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=0.05)


def test_another_word_is_refused():
    with pytest.raises(OptionError, match=r"bf16, fp16 or tf32\. Received: 'int8'"):
        nnlib.autocast("int8")


def test_bfloat16_without_ml_dtypes_says_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(MissingExtraError, match="pip install ml_dtypes"):
        nnlib.autocast("bf16")


# TF32 -----------------------------------------------------------------------------------------


@pytest.fixture
def allowed(monkeypatch):
    """Whether GEMMs may use TF32, forward and backward."""
    seen = []
    backend = nnlib.get_backend()
    kernel = backend.kernels["linear"]

    def noting(function):
        def call(*args, **options):
            seen.append(tf32_allowed.get())
            return function(*args, **options)

        return call

    spy = type(kernel)(noting(kernel.forward), noting(kernel.backward))
    monkeypatch.setitem(backend.kernels, "linear", spy)
    return seen


def test_tf32_holds_for_the_backward_pass_of_what_was_computed_inside(allowed):
    layer = nn.Linear(2, 2)
    with nnlib.autocast("tf32"):
        loss = layer(rand(1, 2)).sum()
        with nnlib.autocast("tf32", enabled=False):
            layer(rand(1, 2))
    loss.backward()
    layer(rand(1, 2)).sum().backward()
    assert allowed == [True, False, True, None, None]
    assert tf32_allowed.get() is None


# Compiled -------------------------------------------------------------------------------------


def training(precision, compiled):
    nnlib.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.Linear(16, 3))
    optimizer = optim.AdamW(model.parameters(), lr=0.01)

    def step(x, labels):
        optimizer.zero_grad()
        with nnlib.autocast(precision):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = nnlib.compile(step) if compiled else step
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(12):
        x = rng.normal(size=(9, 6)).astype("float32")
        losses.append(step(nnlib.tensor(x), nnlib.tensor(np.abs(x[:, :3]).argmax(1))))
    return [float(loss) for loss in losses], [p.numpy() for p in model.parameters()]


def test_a_compiled_step_is_the_same(backend, precision):
    losses, weights = training(precision, compiled=False)
    again, replayed = training(precision, compiled=True)
    assert losses == again
    for a, b in zip(weights, replayed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_function_is_recorded_for_each_precision(backend):
    layer, x = nn.Linear(2, 2), rand(1, 2)
    forward = nnlib.compile(lambda x: layer(x))
    for _ in range(3):
        assert forward(x).dtype.name == "float32"
        with nnlib.autocast("fp16"):
            assert forward(x).dtype.name == "float16"


@pytest.mark.peers
def test_as_pytorch_does_it():
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    nnlib.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 5))
    theirs = torch.nn.Sequential(
        torch.nn.Linear(20, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 5)
    )
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in model.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(16, 20)).astype("float32")
    labels = np.arange(16) % 5
    with nnlib.autocast("bf16"):
        loss = F.cross_entropy(model(nnlib.tensor(x)), nnlib.tensor(labels))
    loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
    expected.backward()
    assert abs(float(loss) - expected.item()) < 0.02
    for a, b in zip(model.parameters(), theirs.parameters(), strict=True):
        scale = np.abs(b.grad.numpy()).max()
        assert np.abs(a.grad.numpy() - b.grad.numpy()).max() < 0.05 * scale
