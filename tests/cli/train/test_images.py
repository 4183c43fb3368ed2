import json
from importlib import import_module

import numpy as np
import pytest
from click.testing import CliRunner

import nnlib
from nnlib import data, models
from nnlib.cli import main
from nnlib.cli.train import images
from nnlib.cli.train.command import TASKS


def run(*args):
    result = CliRunner().invoke(main, ["train", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs with --out and --json, and its folder."""
    out = tmp_path_factory.mktemp("run") / "new"
    return run("mlp", "--epochs", 3, "--out", out, "--json"), out


def test_digits_by_default():
    result = run("mlp", "--epochs", 4, "--lr", 0.003)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert "mlp, 22,510 parameters, on digits: 1,442 training and 355 test images" in lines[0]
    assert "numpy on" in lines[0]
    assert "seed 0, optimizer adam, lr 0.003" in lines[1]
    assert [line[:9] for line in lines[2:]] == [f"epoch {i}/4" for i in (1, 2, 3, 4)]
    table = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[0] != " ")
    assert table["model"] == "mlp, 22,510 parameters"
    assert float(result.stdout.partition("test error")[2].split("%")[0]) < 8


@pytest.mark.parametrize("name", [name for name, (kind, _) in TASKS.items() if kind == "images"])
def test_every_model_begins_with_its_defaults(name, monkeypatch):
    few = [data.ArrayDataset(*part[:18], classes=part.classes) for part in data.digits()]
    monkeypatch.setitem(images.DATA, "digits", lambda root: few)
    monkeypatch.setattr("nnlib.models.vgg.WIDTH", (4, 6, 8, 8, 8))
    monkeypatch.setattr("nnlib.models.vgg.HIDDEN", 8)
    result = run(name, "--epochs", 1, "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["test_error"] <= 1


@pytest.mark.parametrize("size", [8, 28, 32])
@pytest.mark.parametrize("name", ["mlp", "lenet", "vgg11"])
def test_every_model_takes_the_images_of_every_data_set(name, size, monkeypatch):
    monkeypatch.setattr("nnlib.models.vgg.HIDDEN", 8)
    least = images.LEAST_SIZES.get(name.rstrip("1"), 1)
    whole = data.ArrayDataset(np.ones((2, size, size, 3), np.float32), np.arange(2), classes="ab")
    large = images.enlarged(whole, least)
    assert large.arrays[0].shape == (2, max(size, least), max(size, least), 3)
    assert set(np.unique(large.arrays[0])) <= {0, 1}
    assert images.make_model(name, large)(nnlib.tensor(large.arrays[0])).shape == (2, 2)


def test_json_is_all_that_goes_to_stdout(finished):
    result, _ = finished
    report = json.loads(result.stdout)
    assert report["epochs"] == 3
    assert report["parameters"] == 22510
    assert report["test_accuracy"] == 1 - report["test_error"]
    assert report["options"]["schedule"] == "cosine"
    assert report["machine"]["name"]
    assert [epoch["epoch"] for epoch in report["history"]] == [1, 2, 3]


def test_mixed_precision():
    result = run("mlp", "--epochs", 3, "--precision", "fp16", "--json", "--quiet")
    report = json.loads(result.stdout)
    assert report["options"]["precision"] == "fp16"
    assert report["test_error"] < 0.2


def test_files(finished):
    result, out = finished
    report = json.loads(result.stdout)
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.safetensors",
        "history.csv",
        "history.json",
        "options.json",
        "weights.safetensors",
    ]
    model = models.MLP((64, 300, 10))
    nnlib.io.load_into(model, out / "weights.safetensors")
    _, test = nnlib.data.digits()
    guesses = model(nnlib.tensor(test.arrays[0])).numpy().argmax(1)
    assert (guesses != test.arrays[1]).mean() == pytest.approx(report["test_error"])
    assert json.loads((out / "history.json").read_text())["epochs"] == report["history"]
    assert len((out / "history.csv").read_text().splitlines()) == 4


def test_resuming_gives_the_same_run(tmp_path):
    options = ("mlp", "--schedule", "constant", "--augment", "none", "--seed", 4, "--json")
    whole = json.loads(run(*options, "--epochs", 3).stdout)
    run(*options, "--epochs", 2, "--out", tmp_path / "run")
    result = run(*options, "--epochs", 3, "--out", tmp_path / "run", "--resume")
    assert "continuing after epoch 2" in result.stderr
    resumed = json.loads(result.stdout)
    for name in ("train_loss", "test_loss", "test_error", "epochs"):
        assert resumed[name] == whole[name]


def test_a_folder_with_a_run_is_not_overwritten(finished):
    _, out = finished
    before = (out / "weights.safetensors").read_bytes()
    result = run("mlp", "--out", out)
    assert result.exit_code == 1
    assert "Continue it with --resume" in result.stderr
    assert (out / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("mlp", "--epochs", 5, "--seed", 1), "Different: seed"),
        (("mlp", "--epochs", 5, "--lr", 0.1), "Different: lr"),
        (("lenet", "--epochs", 5), "Different: model"),
        (("mlp", "--epochs", 2), "at least the 3 epochs that are done"),
    ],
)
def test_resuming_another_run(finished, options, message):
    _, out = finished
    result = run(*options, "--out", out, "--resume")
    assert result.exit_code == 1
    assert message in result.stderr
    assert json.loads((out / "options.json").read_text())["seed"] == 0


def test_resuming_nothing(tmp_path):
    result = run("mlp", "--out", tmp_path, "--resume")
    assert (result.exit_code, "a folder without one" in result.stderr) == (1, True)
    (tmp_path / "checkpoint.safetensors").write_text("")
    (tmp_path / "options.json").write_text("[")
    result = run("mlp", "--out", tmp_path, "--resume")
    assert (result.exit_code, "options of the run" in result.stderr) == (1, True)


def test_quiet():
    result = run("mlp", "--epochs", 1, "--quiet")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_backend_option():
    result = run("mlp", "--epochs", 1, "--backend", "strict", "--json")
    assert json.loads(result.stdout)["backend"] == "strict"


def test_lenet_takes_small_digits(monkeypatch):
    train, test = nnlib.data.digits()
    small = [nnlib.data.ArrayDataset(*part[:40], classes=part.classes) for part in (train, test)]
    monkeypatch.setattr("nnlib.data.digits", lambda: tuple(small))
    report = json.loads(run("lenet", "--epochs", 1, "--json").stdout)
    assert report["parameters"] == 61706


def test_colour_images(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.random((32, 32, 32, 3), np.float32)
    part = nnlib.data.ArrayDataset(x, np.arange(32) % 10, classes=[str(i) for i in range(10)])
    monkeypatch.setitem(
        import_module("nnlib.cli.train.images").DATA, "cifar10", lambda root: (part, part)
    )
    report = json.loads(run("lenet", "--data", "cifar10", "--epochs", 1, "--json").stdout)
    assert report["options"]["data"] == "cifar10"


def test_data_that_are_nowhere(tmp_path, monkeypatch):
    import requests

    def get(*args, **options):
        raise requests.ConnectionError("the network is unreachable")

    monkeypatch.setattr(requests, "get", get)
    result = run("mlp", "--data", "mnist", "--data-root", tmp_path)
    assert result.exit_code == 1
    assert "the files of MNIST must be" in result.stderr


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("mlp", "--out", tmp_path / "file" / "run")
    assert result.exit_code == 1
    assert "file stands where a folder is needed" in result.stderr
    assert "epoch" not in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("mpl",),
        ("mlp", "--data", "imagenet"),
        ("mlp", "--epochs", 0),
        ("mlp", "--lr", -1),
        ("mlp", "--optimizer", "adamm"),
        ("mlp", "--resume"),
        (),
    ],
)
def test_wrong_usage(args):
    assert run(*args).exit_code == 2


def test_backends_that_are_not_there():
    result = run("mlp", "--backend", "nump")
    assert (result.exit_code, "Did you mean 'numpy'" in result.stderr) == (1, True)


def test_unusable_gpu(monkeypatch):
    from nnlib_backends import BackendUnavailableError

    def unavailable(name):
        raise BackendUnavailableError("cupy", "no-driver", "No driver.", "install one")

    monkeypatch.setattr("nnlib.use_backend", unavailable)
    result = run("mlp", "--backend", "cupy")
    assert (result.exit_code, "install one" in result.stderr) == (4, True)


def test_interrupted(monkeypatch):
    def fit(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nnlib.Trainer.fit", fit)
    assert run("mlp").exit_code == 130


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own
def test_divergence_is_an_error():
    result = run("mlp", "--lr", 1e30, "--optimizer", "sgd", "--epochs", 2)
    assert result.exit_code == 1
    assert "error: the loss was" in result.stderr
