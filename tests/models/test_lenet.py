import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError
from nnlib.models import LeNet5, lenet1998


def layer_counts(model):
    return {
        name: sum(p.size for p in module.parameters())
        for name, module in [*model.features.named_children(), *model.classifier.named_children()]
    }


def test_parameters_of_each_layer():
    counts = layer_counts(LeNet5())
    assert {name: n for name, n in counts.items() if n} == {
        "c1": 156,
        "c3": 2416,
        "c5": 48120,
        "f6": 10164,
        "output": 850,
    }
    assert sum(counts.values()) == 61706


def test_parameters_of_the_paper():
    counts = layer_counts(LeNet5(variant="1998"))
    assert {name: n for name, n in counts.items() if n} == {
        "c1": 156,
        "s2": 12,
        "c3": 1516,
        "s4": 32,
        "c5": 48120,
        "f6": 10164,
    }
    assert sum(counts.values()) == 60000


@pytest.fixture(params=["common", "1998"])
def variant(request):
    return request.param


@pytest.mark.parametrize("size", [28, 32])
def test_logits(backend, variant, size):
    model = LeNet5(image_size=size, variant=variant)
    assert model.input_shape == (size, size, 1)
    assert model(nnlib.ones(3, size, size, 1)).shape == (3, 10)


def test_padding_is_that_of_the_paper(variant):
    """28×28 is 32×32 with a frame of background."""
    small, large = (LeNet5(image_size=size, variant=variant) for size in (28, 32))
    large.load_state_dict(small.state_dict())
    x = nnlib.random.Generator(1).uniform((2, 28, 28, 1), backend="numpy")
    framed = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    result = large(nnlib.tensor(framed)).numpy()
    assert small(nnlib.tensor(x)).numpy() == pytest.approx(result, rel=1e-5, abs=1e-6)


def test_colour_classes_and_activation():
    model = LeNet5(num_classes=7, in_channels=3, image_size=32, activation="relu")
    assert model(nnlib.ones(1, 32, 32, 3)).shape == (1, 7)
    assert isinstance(model.features.act1, nn.ReLU)


@pytest.mark.parametrize("compiled", [False, True])
def test_learns(backend, variant, compiled):
    """A few steps on one batch bring its loss down, on every backend."""
    model = LeNet5(variant=variant)
    x, labels = nnlib.randn(8, 28, 28, 1), nnlib.arange(8)
    optimizer = nnlib.optim.Adam(model.parameters(), lr=0.01 if variant == "common" else 0.002)

    def step(x, labels):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    step = nnlib.compile(step) if compiled else step
    losses = [step(x, labels).item() for _ in range(20)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


def test_a_compiled_step_is_the_same_bit_by_bit():
    def run(compiled):
        nnlib.manual_seed(0)
        model = LeNet5(variant="1998")
        optimizer = nnlib.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
        trainer = nnlib.Trainer(model, "cross_entropy", optimizer, progress=False, compile=compiled)
        x = nnlib.random.Generator(1).uniform((40, 28, 28, 1), backend="numpy")
        return trainer.fit((x, np.arange(40) % 10), epochs=2, batch_size=8)["loss"]

    assert run(True) == run(False)


def test_bad_variant():
    with pytest.raises(OptionError, match=r"'common' or '1998'. Received: '1997'"):
        LeNet5(variant="1997")


def test_the_variant_of_1998_has_other_activations_too():
    model = LeNet5(activation="relu", variant="1998")
    assert isinstance(model.features.act4, nn.ReLU)
    assert isinstance(LeNet5(variant="1998").classifier.act6, lenet1998.ScaledTanh)


def test_bad_image_size():
    with pytest.raises(OptionError, match=r"28×28 or 32×32. Received: image_size=29"):
        LeNet5(image_size=29)


@pytest.mark.peers
def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    tnn = torch.nn
    model = LeNet5()
    peer = tnn.Sequential(
        *(tnn.Conv2d(1, 6, 5, padding=2), tnn.Tanh(), tnn.AvgPool2d(2)),
        *(tnn.Conv2d(6, 16, 5), tnn.Tanh(), tnn.AvgPool2d(2), tnn.Flatten()),
        *(tnn.Linear(400, 120), tnn.Tanh(), tnn.Linear(120, 84), tnn.Tanh(), tnn.Linear(84, 10)),
    )
    with torch.no_grad():
        for own, other in zip(model.parameters(), peer.parameters(), strict=True):
            values = own.numpy()
            if values.ndim == 4:  # (out, kh, kw, in) → (out, in, kh, kw)
                values = values.transpose(0, 3, 1, 2)
            elif values.shape == (120, 400):  # flattened (5, 5, 16) → (16, 5, 5)
                values = values.reshape(120, 5, 5, 16).transpose(0, 3, 1, 2).reshape(120, 400)
            other.copy_(torch.from_numpy(np.ascontiguousarray(values)))
    x = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)
    expected = peer(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).detach().numpy()
    assert model(nnlib.tensor(x)).numpy() == pytest.approx(expected, abs=1e-5)
