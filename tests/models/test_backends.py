"""Every model has the same loss and gradients on every backend, in float32 and in bfloat16."""

import inspect

import emulation
import numpy as np
import pytest
from emulation import build

import nnlib
import nnlib.nn.functional as F
from nnlib import models, nn

RANDOM = np.random.default_rng(0)
IMAGES = {side: RANDOM.standard_normal((2, side, side, channels)).astype(np.float32)
          for side, channels in ((28, 1), (32, 3))}  # fmt: skip
ROWS = RANDOM.standard_normal((5, 6)).astype(np.float32)
SEQUENCES = RANDOM.standard_normal((3, 7, 4)).astype(np.float32)
TOKENS = RANDOM.integers(3, 11, (3, 8))
PATTERNS = np.sign(RANDOM.standard_normal((3, 24))).astype(np.float32)


def classified(model, images):
    return F.cross_entropy(model(nnlib.tensor(images)), nnlib.tensor(np.arange(len(images)) % 3))


def continued(model):
    logits = model(nnlib.tensor(TOKENS[:, :-1]))
    return F.cross_entropy(logits.reshape(-1, 11), nnlib.tensor(TOKENS[:, 1:].reshape(-1)))


def translated(model):
    logits = model(nnlib.tensor(TOKENS), nnlib.tensor(TOKENS[:, :-1]))
    return F.cross_entropy(logits.reshape(-1, 11), nnlib.tensor(TOKENS[:, 1:].reshape(-1)))


def recalled(model):
    noisy = PATTERNS.copy()
    noisy[:, :3] *= -1
    probes = nnlib.tensor(noisy, requires_grad=True)
    return (model(probes) * nnlib.tensor(PATTERNS)).mean()


CASES = {
    "MLP": (lambda: models.MLP((6, 9, 3), activation="relu"), lambda m: classified(m, ROWS)),
    "LeNet5": (lambda: models.LeNet5(), lambda m: classified(m, IMAGES[28])),
    "VGG": (
        lambda: models.VGG(11, 10, dropout=0.0, image_size=32),
        lambda m: classified(m, IMAGES[32]),
    ),
    "CharRNN": (lambda: models.CharRNN(11, width=12, layers=2, cell="gru"), continued),
    "GPT": (
        lambda: models.GPT(vocab_size=11, context=8, layers=2, heads=2, width=16),
        continued,
    ),
    "Transformer": (
        lambda: models.Transformer(
            vocab_size=11, context=8, layers=2, heads=2, width=16, hidden=24, dropout=0.0
        ),
        translated,
    ),
    "SequenceRegressor": (
        lambda: models.SequenceRegressor(4, width=9),
        lambda m: (m(nnlib.tensor(SEQUENCES), nnlib.tensor([7, 2, 5])) ** 2).mean(),
    ),
    "Hopfield": (lambda: models.Hopfield(24).store(nnlib.tensor(PATTERNS)), recalled),
    "ModernHopfield": (lambda: models.ModernHopfield(nnlib.tensor(PATTERNS)), recalled),
}
"""Name of a model → what makes it, and its loss."""


def test_no_model_is_forgotten():
    made = {
        name for name in models.__all__
        if inspect.isclass(kind := getattr(models, name)) and issubclass(kind, nn.Module)
    }  # fmt: skip
    assert made - {"LanguageModel"} == set(CASES)  # which others are made from


def gradients(name, where, state=None, precision="fp32"):
    """Loss, gradients by name, and the initial state, all on the host."""
    build, loss = CASES[name]
    with nnlib.use_backend(where):
        nnlib.manual_seed(0)
        model = build()
        if state is not None:
            model.load_state_dict(state)
        state = {key: value.numpy().copy() for key, value in model.state_dict().items()}
        with nnlib.autocast("bf16", enabled=precision == "bf16"):
            value = loss(model)
        if value.requires_grad:
            value.backward()
        found = {key: p.grad.numpy() for key, p in model.named_parameters()}
        return value.item(), found, state


@pytest.fixture(params=["strict", "emulated", pytest.param("cupy", marks=pytest.mark.gpu)])
def where(request, tmp_path_factory):
    """A double of a GPU, the same with the CUDA kernels run on the CPU, and a GPU."""
    if request.param == "emulated":
        if emulation.missing_compiler():
            pytest.skip(emulation.missing_compiler())
        emulation.register()
        cache = getattr(request.config, "cache", None)  # absent with -p no:cacheprovider
        folder = cache.mkdir if cache else tmp_path_factory.mktemp
        build.keep_in(folder("emulated_kernels"))
    return request.param


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_numpys(name, precision, where, monkeypatch):
    monkeypatch.setattr("nnlib.models.vgg.HIDDEN", 64)
    expected, wanted, state = gradients(name, "numpy", precision=precision)
    loss, found, _ = gradients(name, where, state, precision)

    tf32 = nnlib.backend_info(where)["details"].get("float32_precision") == "TF32"
    rtol = {"fp32": 2e-2 if tf32 else 1e-4, "bf16": 5e-2}[precision]
    assert loss == pytest.approx(expected, rel=rtol, abs=rtol)
    assert found.keys() == wanted.keys()
    largest = max((np.abs(g).max() for g in wanted.values()), default=0.0)
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype == np.float32
        # a bias before a norm has no gradient but rounding: it counts by the largest one
        room = rtol * max(np.abs(value).max(), 0.05 * largest)
        assert np.abs(found[key] - value).max() <= 10 * room, key
