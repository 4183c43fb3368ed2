import json
import math

import pytest
from click.testing import CliRunner

from nnlib import models
from nnlib.cli import main

SMALL = ("--layers", 1, "--heads", 2, "--width", 16, "--context", 8, "--steps-per-epoch", 30)


def run(*args):
    result = CliRunner().invoke(main, list(map(str, args)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on a text of one sentence, and its folder."""
    folder = tmp_path_factory.mktemp("gpt")
    text = folder / "song.txt"
    text.write_text("tra la la lalala laa\n" * 50)
    out = folder / "run"
    result = run("train", "char-gpt", "--data", text, *SMALL, "--epochs", 2, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), out, text


def test_it_learns_to_predict(finished):
    report, _, _ = finished
    assert report["options"]["data"] == "song.txt"
    assert report["options"]["layers"] == 1
    assert report["validation_loss"] < 1.6 < math.log(6)
    assert report["bits_per_character"] == pytest.approx(report["validation_loss"] / math.log(2))
    assert report["epochs"] == 2


def test_resuming(finished):
    _, out, text = finished
    result = run(
        "train", "char-gpt", "--data", text, *SMALL, "--epochs", 3, "--out", out, "--resume"
    )
    assert result.exit_code == 0, result.stderr
    assert "continuing after epoch 2" in result.stderr
    assert "bits per character" in result.stdout


def test_the_weights_know_their_model(finished):
    _, out, _ = finished
    model, tokenizer = models.load_language_model(out / "weights.safetensors")
    assert model.config.context == 8
    assert tokenizer.vocabulary == "\n alrt"


def test_sizes_that_do_not_fit(finished):
    _, _, text = finished
    result = run("train", "char-gpt", "--data", text, "--heads", 3, "--width", 16)
    assert (result.exit_code, "a multiple of heads" in result.stderr) == (1, True)


def test_no_such_text():
    result = run("train", "char-gpt", "--data", "nowhere.txt")
    assert (result.exit_code, "a text file must exist" in result.stderr) == (1, True)


def test_another_optimizer(finished):
    _, _, text = finished
    options = ("--optimizer", "sgd", "--epochs", 1)
    assert run("train", "char-gpt", "--data", text, *SMALL, *options).exit_code == 0
