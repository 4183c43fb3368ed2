import itertools
import json

import pytest
from click.testing import CliRunner

from nnlib.cli import main

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

WORDS = {"one": "uno", "two": "dos", "three": "tres"}
SMALL = ("--layers", 1, "--heads", 2, "--width", 32, "--hidden", 64, "--vocabulary", 300)


def run(*args):
    result = CliRunner().invoke(main, list(map(str, args)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on numbers in words, and its folder."""
    folder = tmp_path_factory.mktemp("translate")
    texts = itertools.product(WORDS, repeat=4)
    lines = [" ".join(text) + "\t" + " ".join(WORDS[word] for word in text) for text in texts]
    path = folder / "numbers.tsv"
    path.write_text("\n".join(lines) + "\n")
    out = folder / "run"
    held = ("--validation", 5, "--test", 10)
    options = (*SMALL, *held, "--lr", 0.01, "--dropout", 0, "--epochs", 30, "--batch-size", 128)
    result = run("train", "translate", "--data", path, *options, "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), out


def test_it_translates_what_it_has_not_seen(finished):
    report, _ = finished
    assert report["BLEU"] > 50
    assert report["chrF"] > 50
    assert report["sacrebleu"].startswith("nrefs:1")
    assert len(report["translations"]) == 10
    assert report["options"]["data"] == "numbers.tsv"


def test_sample_translates(finished):
    report, out = finished
    example = report["translations"][0]
    result = run("sample", out, "--prompt", example["source"], "--beam", 5)
    assert result.stdout == example["translation"] + "\n"


def test_a_line_without_a_tab(tmp_path):
    path = tmp_path / "broken.tsv"
    path.write_text("one\tuno\ntwo\n")
    result = run("train", "translate", "--data", path)
    assert (result.exit_code, "line 2" in result.stderr) == (1, True)
