"""Weights of PyTorch and Keras: the same outputs, whatever names and layouts they come with."""

import numpy as np
import pytest

import nnlib
from nnlib import nn
from nnlib.errors import OptionError, StateError
from nnlib.io import from_keras, from_torch, load_into, save
from nnlib.models import MLP, VGG, LeNet5

WIDTHS = {
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
}


def pixels(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def assert_same_outputs(model, theirs, x):
    """Compare with a network of PyTorch on images NHWC, in evaluation mode."""
    torch = pytest.importorskip("torch")
    there = torch.from_numpy(np.moveaxis(x, -1, 1).copy()) if x.ndim == 4 else torch.from_numpy(x)
    with torch.no_grad():
        expected = theirs.eval()(there).numpy()
    with nnlib.no_grad():
        result = model.eval()(nnlib.tensor(x, backend=next(model.parameters()).backend)).numpy()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def enliven(network):
    """Give statistics and scales values that one can tell apart, in place; return the network."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if "running" in name:
                value.uniform_(0.5, 1.5)
            elif value.ndim == 1 and value.dtype.is_floating_point:
                value.add_(0.2 * torch.randn_like(value))
    return network


@pytest.fixture
def torchvision_vgg():
    """VGG as torchvision lays it out: features.N, avgpool, classifier.N (without Flatten)."""
    tnn = pytest.importorskip("torch").nn

    class TorchvisionVGG(tnn.Module):
        def __init__(self, widths, batch_norm, cells, classes):
            super().__init__()
            layers, channels = [], 3
            for width in widths:
                if width == "M":
                    layers.append(tnn.MaxPool2d(2))
                    continue
                layers.append(tnn.Conv2d(channels, width, 3, padding=1))
                layers += [tnn.BatchNorm2d(width)] if batch_norm else []
                layers.append(tnn.ReLU())
                channels = width
            self.features = tnn.Sequential(*layers)
            self.avgpool = tnn.AdaptiveAvgPool2d(cells)
            self.classifier = tnn.Sequential(
                *(tnn.Linear(512 * cells * cells, 4096), tnn.ReLU(), tnn.Dropout()),
                *(tnn.Linear(4096, 4096), tnn.ReLU(), tnn.Dropout(), tnn.Linear(4096, classes)),
            )

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    return TorchvisionVGG


@pytest.mark.peers
@pytest.mark.parametrize(("depth", "batch_norm"), [(11, True), (16, False)])
def test_vgg_of_torchvision(torchvision_vgg, depth, batch_norm, tmp_path):
    """2×2 cells behind the features: their order matters.  64×64 pixels, so not very slow."""
    theirs = enliven(torchvision_vgg(WIDTHS[depth], batch_norm, cells=2, classes=5))
    model = VGG(depth, num_classes=5, batch_norm=batch_norm, image_size=64)
    state = theirs.state_dict()
    assert list(state)[-2:] == ["classifier.6.weight", "classifier.6.bias"]
    assert model.load_state_dict(from_torch(state, model)).complete
    assert_same_outputs(model, theirs, pixels(2, 64, 64, 3))
    if depth == 11:  # a file has the names in another order: classifier first, 10 before 2
        path = tmp_path / "theirs.safetensors"
        save({name: value.numpy() for name, value in state.items()}, path)
        converted = from_torch(nnlib.load(path), model)
        save(converted, path)
        again = VGG(depth, num_classes=5, batch_norm=batch_norm, image_size=64)
        assert load_into(again, path).complete
        for one, other in zip(model.parameters(), again.parameters(), strict=True):
            assert (one.numpy() == other.numpy()).all()


@pytest.mark.peers
def test_weights_for_other_classes(torchvision_vgg):
    """A published network and one's own head: all but the last layer is loaded, if asked."""
    theirs = torchvision_vgg(WIDTHS[11], False, cells=1, classes=7)
    model = VGG(11, num_classes=3, image_size=32)
    state = from_torch(theirs.state_dict(), model)
    with pytest.raises(StateError, match=r"classifier.7.weight must be .* \(3, 4096\)"):
        model.load_state_dict(state)
    report = model.load_state_dict(state, skip_mismatch=True)
    assert list(report.mismatched) == ["classifier.7.weight", "classifier.7.bias"]
    assert len(report.matched) == 20


@pytest.mark.peers
def test_before_batches_were_counted(torchvision_vgg):
    """Old checkpoints of batch normalisation have no num_batches_tracked."""
    theirs = torchvision_vgg(WIDTHS[11], True, cells=1, classes=2).state_dict()
    state = {name: v for name, v in theirs.items() if "num_batches" not in name}
    model = VGG(11, num_classes=2, batch_norm=True, image_size=32)
    assert model.load_state_dict(from_torch(state, model)).complete


def sequential(tnn):
    return tnn.Sequential(
        *(tnn.Conv2d(2, 4, 3, stride=2, padding=1), tnn.BatchNorm2d(4), tnn.PReLU(4)),
        *(tnn.Conv2d(4, 6, (3, 1), groups=2, bias=False), tnn.GroupNorm(3, 6), tnn.Flatten()),
        *(tnn.BatchNorm1d(6 * 2 * 5), tnn.Linear(6 * 2 * 5, 8), tnn.Tanh(), tnn.LayerNorm(8)),
        tnn.Linear(8, 3),
    )


def own_sequential():
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.PReLU(4)),
        *(nn.Conv2d(4, 6, (3, 1), groups=2, bias=False), nn.GroupNorm(3, 6), nn.Flatten()),
        *(nn.BatchNorm1d(6 * 2 * 5), nn.Linear(6 * 2 * 5, 8), nn.Tanh(), nn.LayerNorm(8)),
        nn.Linear(8, 3),
    )


@pytest.mark.peers
@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_a_sequential_model(backend, prefix):
    """Batch normalisation between Flatten and the linear layer has the order of channels, too."""
    torch = pytest.importorskip("torch")
    theirs, model = enliven(sequential(torch.nn)), own_sequential()
    state = {prefix + name: value for name, value in theirs.state_dict().items()}
    state = dict(sorted(state.items()))  # 10 before 2
    converted = from_torch(state, model, input_shape=(8, 10, 2))
    assert model.load_state_dict(converted).complete
    assert_same_outputs(model, theirs, pixels(3, 8, 10, 2))


@pytest.mark.peers
def test_names_of_ones_own():
    torch = pytest.importorskip("torch")
    tnn = torch.nn

    class Theirs(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = tnn.Conv2d(1, 6, 5, padding=2), tnn.Conv2d(6, 16, 5)
            self.fc1, self.fc2, self.fc3 = (
                tnn.Linear(400, 120),
                tnn.Linear(120, 84),
                tnn.Linear(84, 10),
            )

        def forward(self, x):
            x = tnn.functional.avg_pool2d(torch.tanh(self.conv1(x)), 2)
            x = tnn.functional.avg_pool2d(torch.tanh(self.conv2(x)), 2).flatten(1)
            return self.fc3(torch.tanh(self.fc2(torch.tanh(self.fc1(x)))))

    theirs, model = Theirs(), LeNet5()
    model.load_state_dict(from_torch(theirs.state_dict(), model))
    assert_same_outputs(model, theirs, pixels(2, 28, 28, 1))


@pytest.mark.peers
def test_images_that_are_flattened_first():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24, 5), torch.nn.Linear(5, 2))
    model = MLP((24, 5, 2), "identity")
    model.load_state_dict(from_torch(theirs.state_dict(), model, input_shape=(4, 2, 3)))
    assert_same_outputs(model, theirs, pixels(3, 4, 2, 3))
    as_they_are = from_torch(theirs.state_dict(), model)["layers.linear1.weight"]
    np.testing.assert_array_equal(as_they_are, theirs[1].weight.detach().numpy())


@pytest.mark.peers
def test_recurrent_and_one_dimensional_layers():
    torch = pytest.importorskip("torch")
    lstm, own = torch.nn.LSTM(3, 4, 2, batch_first=True), nn.LSTM(3, 4, 2)
    own.load_state_dict(from_torch(lstm.state_dict(), own))
    x = pixels(2, 5, 3)
    expected = lstm(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(own(nnlib.tensor(x))[0].numpy(), expected, atol=1e-5)
    conv, own = torch.nn.Conv1d(3, 4, 2), nn.Conv1d(3, 4, 2)
    own.load_state_dict(from_torch(conv.state_dict(), own))
    expected = conv(torch.from_numpy(x.transpose(0, 2, 1).copy())).detach().numpy()
    np.testing.assert_allclose(own(nnlib.tensor(x)).numpy(), expected.transpose(0, 2, 1), atol=1e-5)


@pytest.mark.peers
def test_half_precision_of_pytorch():
    torch = pytest.importorskip("torch")
    model = nn.Linear(3, 2)
    for dtype in (torch.bfloat16, torch.float16):
        theirs = torch.nn.Linear(3, 2).to(dtype)
        model.load_state_dict(from_torch(theirs.state_dict(), model))
        np.testing.assert_array_equal(model.weight.numpy(), theirs.weight.detach().float().numpy())


def filters(out, *rest):
    return np.arange(out * np.prod(rest), dtype=np.float32).reshape(out, *rest)


def test_the_size_of_images_must_be_known():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    state = {"0.weight": filters(2, 1, 3, 3), "2.weight": filters(2, 8)}
    with pytest.raises(
        OptionError, match=r"input_shape must be given.*Sequential has no attribute"
    ):
        from_torch(state, model)
    converted = from_torch(state, model, input_shape=(4, 4, 1))
    assert converted["2.weight"][0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_another_number_of_layers():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    with pytest.raises(StateError, match=r"Received: 1, fc, for the module's 2, 0, 2. Replace"):
        from_torch({"fc.weight": filters(2, 3)}, model)
    with pytest.raises(StateError, match=r"mapping of names.*Received: list"):
        from_torch([1, 2], nn.Linear(1, 1))


# Keras ---------------------------------------------------------------------------------------


def keras_convolution(x, kernel, bias):
    """Keras's documented Conv2D, padding="same": kernel (kh, kw, in, out), images NHWC."""
    kh, kw, _, _ = kernel.shape
    padded = np.pad(x, ((0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel, optimize=True) + bias


def keras_vgg(channels, hidden, classes, depth=(1, 1, 2, 2, 2)):
    """Weights of keras.applications' VGG: its names, its layouts, in its order."""
    rng = np.random.default_rng(1)
    weights, before = {}, 3
    for block, (count, width) in enumerate(zip(depth, channels, strict=True), 1):
        for i in range(1, count + 1):
            kernel = rng.normal(0, (9 * before) ** -0.5, (3, 3, before, width))
            weights[f"block{block}_conv{i}"] = [kernel, rng.normal(0, 0.1, width)]
            weights[f"block{block}_pool"] = []
            before = width
    for name, size in {"fc1": hidden, "fc2": hidden, "predictions": classes}.items():
        before = before * 4 if name == "fc1" else before  # 2×2 cells
        kernel = rng.normal(0, before**-0.5, (before, size))
        weights[name] = [kernel.astype(np.float32), rng.normal(0, 0.1, size).astype(np.float32)]
        before = size
    return {name: [v.astype(np.float32) for v in values] for name, values in weights.items()}


def keras_output(weights, x):
    for name, values in weights.items():
        if name.endswith("pool"):
            n, h, w, c = x.shape
            x = x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
        elif "conv" in name:
            x = np.maximum(keras_convolution(x, *values), 0)
        else:
            x = x.reshape(len(x), -1) @ values[0] + values[1]
            x = np.maximum(x, 0) if name != "predictions" else x
    return x


def in_order_of_layers(weights):
    """Pools come behind the convolutions of their block, as in ``model.layers``."""
    blocks = sorted({name.partition("_")[0] for name in weights if name.startswith("block")})
    names = []
    for block in blocks:
        names += [n for n in weights if n.startswith(block) and "conv" in n] + [f"{block}_pool"]
    return {name: weights[name] for name in [*names, "fc1", "fc2", "predictions"]}


FORMS = {
    "layer by layer": lambda weights: weights,
    "get_weights()": lambda weights: [v for values in weights.values() for v in values],
    "paths": lambda weights: {
        f"{name}/{role}": value
        for name, values in weights.items()
        for role, value in zip(("kernel", "bias"), values, strict=False)
    },
    "paths in a file": lambda weights: {
        f"{name}/{name}/{role}:0": value
        for name, values in weights.items()
        for role, value in reversed([*zip(("kernel", "bias"), values, strict=False)])
    },
}


@pytest.fixture(scope="module")
def small_keras():
    """A network in the layout of keras.applications' VGG, thin, with its input and output."""
    weights = in_order_of_layers(keras_vgg((4, 6, 8, 8, 8), 20, 5))
    x = pixels(2, 64, 64, 3)
    return weights, x, keras_output(weights, x)


@pytest.mark.parametrize("form", FORMS)
def test_vgg_of_keras(backend, small_keras, form, monkeypatch):
    weights, x, expected = small_keras
    monkeypatch.setattr("nnlib.models.vgg.WIDTH", (4, 6, 8, 8, 8))
    monkeypatch.setattr("nnlib.models.vgg.HIDDEN", 20)
    model = VGG(11, num_classes=5, image_size=64).eval()
    assert model.load_state_dict(from_keras(FORMS[form](weights), model)).complete
    result = model(nnlib.tensor(x, backend=backend)).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-4 * np.abs(expected).max())


def test_layers_of_keras(backend):
    """Batch normalisation, normalisation of layers, embeddings, convolution over time."""
    rng = np.random.default_rng(0)
    gamma, beta, mean = (rng.normal(size=4) for _ in range(3))
    variance, table, kernel = (
        rng.uniform(0.5, 2, 4),
        rng.normal(size=(7, 3)),
        rng.normal(size=(2, 3, 4)),
    )
    model = nn.Sequential(
        nn.Embedding(7, 3), nn.Conv1d(3, 4, 2, bias=False), nn.BatchNorm1d(4, eps=1e-3),
        nn.LayerNorm(4, eps=1e-3),
    )  # fmt: skip
    indices = np.array([[0, 6, 2, 5], [1, 1, 3, 4]])
    x = table[indices]
    y = np.einsum("ntic,ico->nto", np.stack([x[:, :-1], x[:, 1:]], axis=2), kernel)
    y = gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta
    y = (y - y.mean(2, keepdims=True)) / np.sqrt(y.var(2, keepdims=True) + 1e-3) * beta + gamma
    named = {
        "embedding": {"embeddings": table},
        "conv1d": {"kernel": kernel},
        "bn": {"moving_mean": mean, "moving_variance": variance, "beta": beta, "gamma": gamma},
        "ln": {"gamma": beta, "beta": gamma},
    }
    paths = {f"{a}/{b}": v for a, values in named.items() for b, v in values.items()}
    plain = [table, kernel, gamma, beta, mean, variance, beta, gamma]
    for form in (paths, plain):
        assert model.load_state_dict(from_keras(form, model)).complete
        result = model.eval()(nnlib.tensor(indices, backend=backend)).numpy()
        np.testing.assert_allclose(result, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.ones((3, 2))], "2 values in 1 layers, and as many arrays are needed. Received: 1"),
        ({"dense": [np.ones((3, 2))]}, "0 has weight, bias, and as many arrays .*1 of dense"),
        ({"a": [np.ones((3, 2)), np.ones(2)], "b": [np.ones(1)]}, "Received: 2, a, b, for the"),
        ("dense", "the weights must be a list.*Received: str"),
    ],
)
def test_weights_of_keras_that_do_not_fit(weights, message):
    with pytest.raises(StateError, match=message):
        from_keras(weights, nn.Sequential(nn.Linear(3, 2)))


def test_layers_that_are_not_known():
    with pytest.raises(StateError, match=r"converted for Conv1d.*Received: LSTM at '1'"):
        from_keras([], nn.Sequential(nn.Linear(3, 2), nn.LSTM(2, 2)))
