import json

import pytest
from click.testing import CliRunner

import nnlib
from nnlib import models
from nnlib.cli import main
from nnlib.data import CharTokenizer

LETTERS = CharTokenizer("_^$abc")


def run(*args):
    result = CliRunner().invoke(main, ["sample", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path):
    """The folder of a training, with a model that writes."""
    nnlib.manual_seed(0)
    model = models.GPT(vocab_size=6, context=8, layers=1, heads=2, width=8)
    models.save_language_model(model, LETTERS, tmp_path / "weights.safetensors")
    return tmp_path


def test_it_continues_the_prompt(folder):
    result = run(folder, "--prompt", "abc", "--length", 20, "--seed", 1)
    assert result.exit_code == 0
    assert result.stdout.startswith("abc")
    assert len(result.stdout) == 3 + 20 + 1
    assert result.stderr == ""


def test_a_seed_repeats_it(folder):
    once, again, other = (run(folder, "--prompt", "a", "--seed", s).stdout for s in (1, 1, 2))
    assert once == again != other


def test_temperature_0_is_the_likeliest(folder):
    texts = {run(folder, "--prompt", "a", "--temperature", 0, "--seed", s).stdout for s in (1, 2)}
    assert len(texts) == 1


def test_json(folder):
    result = run(folder / "weights.safetensors", "--prompt", "a", "--length", 4, "--json")
    report = json.loads(result.stdout)
    assert report["prompt"] == "a"
    assert len(report["text"]) == 5


def test_translation(tmp_path):
    model = models.Transformer(vocab_size=6, context=8, layers=1, heads=2, width=8, hidden=16)
    models.save_language_model(model, LETTERS, tmp_path / "weights.safetensors")
    result = run(tmp_path, "--prompt", "abc", "--beam", 2, "--json")
    report = json.loads(result.stdout)
    assert report["text"] == models.translate(model, LETTERS, "abc", beam=2)


def test_no_checkpoint(tmp_path):
    result = run(tmp_path, "--prompt", "a")
    assert (result.exit_code, "the folder of a finished training" in result.stderr) == (1, True)


def test_a_character_that_the_model_does_not_know(folder):
    result = run(folder, "--prompt", "x")
    assert (result.exit_code, "Received: 'x'" in result.stderr) == (1, True)


def test_another_backend(folder):
    result = run(folder, "--prompt", "abc", "--length", 5, "--backend", "strict")
    assert result.exit_code == 0
