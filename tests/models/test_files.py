import json
import tracemalloc

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


@pytest.mark.parametrize("value", [10**9, 10**30, 0, -1, 2.0, True, "8", None, [8]])
@pytest.mark.parametrize("name", ["width", "layers", "vocab_size", "context", "heads", "hidden"])
@pytest.mark.parametrize("kind", MODELS)
def test_sizes_that_the_tensors_do_not_have(kind, name, value, tmp_path):
    """Such a file is refused at once: a model of that size would take minutes and gigabytes."""
    model = MODELS[kind]()
    path = tmp_path / "model.safetensors"
    notes = models.language_model_notes(model, LETTERS)
    options = json.loads(notes["nnlib.options"]) | {name: value}
    nnlib.save(model, path, notes | {"nnlib.options": json.dumps(options)})
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=r"model\.safetensors does not fit"):
            models.load_language_model(path)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_long_tables_of_positions(tmp_path, positions):
    """A table that is in no file may be as long as usual, and not as long as anybody says."""
    path = tmp_path / "model.safetensors"
    options = {"layers": 1, "heads": 1, "width": 8, "positions": positions}
    model = models.GPT(vocab_size=6, context=1000, **options)
    models.save_language_model(model, LETTERS, path)
    assert models.load_language_model(path)[0].config.context == 1000
    notes = models.language_model_notes(model, LETTERS)
    wrong = json.loads(notes["nnlib.options"]) | {"context": 10**8}
    nnlib.save(model, path, notes | {"nnlib.options": json.dumps(wrong)})
    with pytest.raises(FileFormatError, match="context must be a size of the file"):
        models.load_language_model(path)


def test_a_model_that_cannot_be_read_draws_no_random_numbers(tmp_path):
    path = tmp_path / "model.safetensors"
    model = MODELS["CharRNN"]()
    notes = models.language_model_notes(model, CharTokenizer("ab"))
    state = {name: value for name, value in model.state_dict().items() if name != "output.bias"}
    nnlib.save(state, path, notes)
    before = nnlib.random.default_generator.state_dict()
    with pytest.raises(FileFormatError):
        models.load_language_model(path)
    assert nnlib.random.default_generator.state_dict() == before
