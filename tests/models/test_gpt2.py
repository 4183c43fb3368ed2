"""Files in the layout of GPT-2's published weights, small and random."""

import json

import numpy as np
import pytest

import nnlib
from nnlib.errors import FileFormatError, InputNotFoundError, OptionError, StateError
from nnlib.models import GPT

VOCABULARY, CONTEXT, LAYERS, WIDTH = 17, 10, 2, 128


def published(prefix="", width=WIDTH, masks=True):
    """Names and shapes as they are published; products are (inputs, outputs)."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.normal(0, 0.1, shape).astype("float32")

    state = {"wte.weight": draw(VOCABULARY, width), "wpe.weight": draw(CONTEXT, width)}
    for i in range(LAYERS):
        for norm in ("ln_1", "ln_2"):
            state[f"h.{i}.{norm}.weight"] = 1 + draw(width)
            state[f"h.{i}.{norm}.bias"] = draw(width)
        products = {
            "attn.c_attn": (width, 3 * width),
            "attn.c_proj": (width, width),
            "mlp.c_fc": (width, 4 * width),
            "mlp.c_proj": (4 * width, width),
        }
        for name, shape in products.items():
            state[f"h.{i}.{name}.weight"] = draw(*shape)
            state[f"h.{i}.{name}.bias"] = draw(shape[1])
        if masks:
            mask = np.tril(np.ones((1, 1, CONTEXT, CONTEXT), np.float32))
            state[f"h.{i}.attn.bias"] = mask
            state[f"h.{i}.attn.masked_bias"] = np.array(-1e4, np.float32)
    state |= {"ln_f.weight": 1 + draw(width), "ln_f.bias": draw(width)}
    return {prefix + name: value for name, value in state.items()}


@pytest.fixture
def write(tmp_path):
    def write(state):
        nnlib.save(state, tmp_path / "model.safetensors")
        return tmp_path / "model.safetensors"

    return write


TOKENS = np.random.default_rng(1).integers(0, VOCABULARY, (3, CONTEXT))


def logits_by_pytorch(state, heads, tokens=TOKENS):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = {name: torch.from_numpy(value) for name, value in state.items()}
    _, time = tokens.shape

    def norm(x, name):
        return F.layer_norm(x, (x.shape[-1],), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)

    def product(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][torch.from_numpy(tokens)] + w["wpe.weight"][:time]
    for i in range(LAYERS):
        q, k, v = product(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").chunk(3, dim=-1)
        q, k, v = (z.unflatten(-1, (heads, -1)).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + product(y, f"h.{i}.attn.c_proj")
        hidden = F.gelu(product(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = x + product(hidden, f"h.{i}.mlp.c_proj")
    head = w.get("lm_head.weight", w["wte.weight"])
    return F.linear(norm(x, "ln_f"), head).numpy()


@pytest.mark.peers
@pytest.mark.parametrize("heads", [2, 4])
def test_logits_are_pytorchs(write, heads):
    state = published()
    model = GPT.from_gpt2(write(state), heads=heads).eval()
    np.testing.assert_allclose(model(TOKENS).numpy(), logits_by_pytorch(state, heads), atol=2e-5)


@pytest.mark.peers
def test_an_output_layer_of_its_own(write):
    state = published()
    state["lm_head.weight"] = state["wte.weight"][::-1].copy()
    model = GPT.from_gpt2(write(state)).eval()
    assert not model.config.tied
    np.testing.assert_allclose(model(TOKENS).numpy(), logits_by_pytorch(state, 2), atol=2e-5)


def test_sizes_follow_from_the_shapes(write):
    config = GPT.from_gpt2(write(published())).config
    sizes = (config.vocab_size, config.context, config.layers, config.width, config.heads)
    assert sizes == (VOCABULARY, CONTEXT, LAYERS, WIDTH, 2)
    assert (config.tied, config.bias, config.positions) == (True, True, "learned")


def test_products_are_transposed(write):
    """Also the square one, of which no shape tells."""
    state = published()
    model = GPT.from_gpt2(write(state))
    for name in ("h.1.attn.c_attn", "h.1.attn.c_proj", "h.1.mlp.c_fc", "h.1.mlp.c_proj"):
        ours = model.state_dict()[f"{name}.weight"].numpy()
        np.testing.assert_array_equal(ours, state[f"{name}.weight"].T)


def test_names_with_and_without_prefix_and_masks(write, backend):
    plain = GPT.from_gpt2(write(published(masks=False)))
    state = published("transformer.")
    state["lm_head.weight"] = state["transformer.wte.weight"]
    other = GPT.from_gpt2(write(state))
    assert other.config.tied
    assert other.wte.weight.backend is backend
    for name, value in plain.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), other.state_dict()[name].numpy())


def test_backend_is_chosen(write):
    model = GPT.from_gpt2(write(published()), backend="strict")
    assert {p.backend.name for p in model.parameters()} == {"strict"}


def test_heads_from_the_file_beside(write):
    path = write(published(width=48))
    with pytest.raises(OptionError, match=r"heads must be given.*config\.json.*48"):
        GPT.from_gpt2(path)
    path.with_name("config.json").write_text(json.dumps({"n_head": 3, "n_embd": 48}))
    assert GPT.from_gpt2(path).config.heads == 3
    assert GPT.from_gpt2(path, heads=4).config.heads == 4
    path.with_name("config.json").write_text('{"activation_function": "relu"}')
    with pytest.raises(FileFormatError, match="activation_function must be gelu_new or"):
        GPT.from_gpt2(path)
    path.with_name("config.json").write_text("[1]")
    with pytest.raises(FileFormatError, match=r"config\.json must be .*, a JSON object"):
        GPT.from_gpt2(path)


def test_what_is_not_gpt2s(write, tmp_path):
    with pytest.raises(InputNotFoundError):
        GPT.from_gpt2(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileFormatError, match=r"Missing: wte\.weight.*Received: bias, weight"):
        GPT.from_gpt2(write(nnlib.nn.Linear(2, 3)))
    ours = GPT(vocab_size=5, context=4, layers=1, heads=1, width=64)
    with pytest.raises(FileFormatError, match=r"\(64, 192\), as GPT-2 keeps it"):
        GPT.from_gpt2(write(ours))


def test_damage_is_named(write):
    state = published()
    del state["h.1.mlp.c_fc.bias"]
    with pytest.raises(StateError, match=r"safetensors: .*missing: h\.1\.mlp\.c_fc\.bias"):
        GPT.from_gpt2(write(state))
    state = published() | {"h.0.extra": np.ones(2, np.float32)}
    with pytest.raises(StateError, match=r"unexpected: h\.0\.extra"):
        GPT.from_gpt2(write(state))
    state = published()
    state["h.0.mlp.c_fc.weight"] = state["h.0.mlp.c_fc.weight"].T.copy()
    with pytest.raises(StateError, match=r"h\.0\.mlp\.c_fc\.weight must be .*\(512, 128\)"):
        GPT.from_gpt2(write(state))


@pytest.mark.parametrize(
    "name", ["h.1000000.x", "h.3.ln_1.weight", "h.99999999999999999999.x", f"h.{'9' * 5000}.x"]
)
def test_layers_that_are_not_there(write, name):
    """As many would be made as the largest number says."""
    state = published()
    state[name] = np.ones(1, np.float32)
    with pytest.raises(FileFormatError, match=r"model\.safetensors must "):
        GPT.from_gpt2(write(state))


@pytest.mark.parametrize("shape", [(), (0,), (5,), (5, 0), (2, 3, 4)])
@pytest.mark.parametrize(
    "name", ["wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "ln_f.bias"]
)
def test_shapes_that_tell_no_sizes(write, name, shape):
    state = published()
    state[name] = np.ones(shape, np.float32)
    with pytest.raises((FileFormatError, StateError, OptionError)):
        GPT.from_gpt2(write(state))
