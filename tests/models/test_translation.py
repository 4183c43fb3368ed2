import pytest

from nnlib.data import CharTokenizer
from nnlib.errors import OptionError, ShapeError
from nnlib.models import Transformer, load_language_model, save_language_model, translate

LETTERS = CharTokenizer("_^$ abcdef")
TEXTS = ["abc", "a", "fed cab", "", "a bad cab faded abed"]  # of 1 … 21 tokens, their ends included


def make():
    return Transformer(
        vocab_size=10, context=40, layers=1, heads=2, width=16, hidden=24, dropout=0.5
    )


def test_texts(backend):
    model = make()
    written = translate(model, LETTERS, TEXTS, beam=2)
    assert len(written) == 5
    assert all(isinstance(one, str) and not set(one) & set("_^$") for one in written)
    assert model.training, "the mode is as it was"
    assert written == [translate(model, LETTERS, one, beam=2) for one in TEXTS]
    assert written == translate(model, LETTERS, tuple(TEXTS), beam=2, batch_size=2)
    assert translate(model, LETTERS, []) == []


def test_as_generate_does():
    model = make().eval()
    source = [[*LETTERS.encode("bad").tolist(), 2]]
    for options in ({"beam": 1}, {"beam": 3, "length_penalty": 0.5}):
        ids = model.generate(source, 5, **options).tolist()[0]
        expected = LETTERS.decode(ids).partition("$")[0]
        assert translate(model, LETTERS, "bad", max_new_tokens=5, **options) == expected


def test_errors():
    with pytest.raises(ShapeError, match="at most 40"):
        translate(make(), LETTERS, "a" * 40)
    with pytest.raises(OptionError, match="batch_size"):
        translate(make(), LETTERS, "a", batch_size=0)


def test_from_a_file(backend, tmp_path):
    path, model = tmp_path / "translator.safetensors", make()
    save_language_model(model, LETTERS, path)
    copy, letters = load_language_model(path)
    assert copy.config == model.config
    assert copy.embedding.weight.backend is backend
    assert translate(copy, letters, TEXTS) == translate(model, LETTERS, TEXTS)
