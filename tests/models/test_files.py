import json

import numpy as np
import pytest

import nnlib
from nnlib import models
from nnlib.data import BPETokenizer, CharTokenizer
from nnlib.errors import DTypeError, FileFormatError, InputNotFoundError

LETTERS = CharTokenizer("_^$abc")
MODELS = {
    "GPT": lambda: models.GPT(vocab_size=6, context=8, layers=1, heads=2, width=8, dropout=0.5),
    "CharRNN": lambda: models.CharRNN(6, width=8, layers=2, cell="gru", dropout=0.5),
    "Transformer": lambda: models.Transformer(
        vocab_size=6, context=8, layers=1, heads=2, width=8, hidden=16
    ),
}


@pytest.mark.parametrize("kind", MODELS)
def test_the_file_is_all_that_is_needed(kind, tmp_path):
    model = MODELS[kind]()
    path = tmp_path / "model.safetensors"
    models.save_language_model(model, LETTERS, path)
    read, tokenizer = models.load_language_model(path)
    assert tokenizer == LETTERS
    assert type(read) is type(model)
    assert not read.training
    tokens = [[3, 4, 5]]
    inputs = (tokens, tokens) if kind == "Transformer" else (tokens,)
    np.testing.assert_array_equal(model.eval()(*inputs).numpy(), read(*inputs).numpy())


def test_byte_pairs_and_another_backend(tmp_path):
    pytest.importorskip("tokenizers")
    pieces = BPETokenizer.train(["low lower lowest"], vocab_size=270)
    model = models.GPT(vocab_size=270, context=8, layers=1, heads=1, width=4)
    path = tmp_path / "model.safetensors"
    models.save_language_model(model, pieces, path)
    read, tokenizer = models.load_language_model(path, "strict")
    assert tokenizer.encode("lower").tolist() == pieces.encode("lower").tolist()
    assert {p.backend.name for p in read.parameters()} == {"strict"}
    assert nnlib.get_backend().name == "numpy"


def test_other_models(tmp_path):
    with pytest.raises(DTypeError, match="GPT, CharRNN, Transformer"):
        models.save_language_model(nnlib.nn.Linear(2, 3), LETTERS, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_other_files(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputNotFoundError):
        models.load_language_model(path)
    nnlib.save(nnlib.nn.Linear(2, 3), path)
    with pytest.raises(FileFormatError, match="Received: weights alone"):
        models.load_language_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"nnlib.options": json.dumps({"vocab_size": 7, "width": 8})},
        {"nnlib.options": json.dumps({"vocab": 6})},
        {"nnlib.options": "{"},
        {"nnlib.tokenizer": "[]"},
    ],
)
def test_files_that_contradict_themselves(change, tmp_path):
    model = models.CharRNN(6, width=8)
    path = tmp_path / "weights.safetensors"
    nnlib.save(model, path, models.language_model_notes(model, LETTERS) | change)
    with pytest.raises(FileFormatError):
        models.load_language_model(path)
