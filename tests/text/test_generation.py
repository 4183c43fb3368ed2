import numpy as np
import pytest

import nnlib
from nnlib.data import BPETokenizer, CharTokenizer
from nnlib.errors import DataError, OptionError
from nnlib.models import GPT, CharRNN, LanguageModel, stream_text

LETTERS = CharTokenizer("abcdefghijk")
SMALL = {"context": 8, "layers": 1, "heads": 2, "width": 12}


@pytest.fixture(scope="module")
def pieces():
    pytest.importorskip("tokenizers")
    return BPETokenizer.train(["a cat, un gato"], 262, special=["<end>"])


def models(size=11, **options):
    return [GPT(vocab_size=size, **SMALL, **options), CharRNN(size, width=8)]


class Scripted(LanguageModel):
    """Continues every text with the tokens of a script."""

    def __init__(self, script, size):
        super().__init__()
        self.weight = nnlib.nn.Parameter(nnlib.zeros(1))
        self.script, self.size = script, size

    def continued(self, tokens, state):
        state = 0 if state is None else state
        logits = np.zeros((1, self.size), np.float32)
        logits[0, self.script[state]] = 9
        return nnlib.tensor(logits), state + 1


@pytest.mark.parametrize("kind", [0, 1], ids=["gpt", "rnn"])
def test_the_text_is_what_generate_gives(backend, kind):
    model = models()[kind].eval()
    pieces = list(stream_text(model, LETTERS, "abc", 12, temperature=0))
    assert [len(piece) for piece in pieces] == [1] * 12
    tokens = nnlib.tensor([[0, 1, 2]], backend=backend)
    expected = model.generate(tokens, 12, temperature=0).tolist()[0]
    assert "abc" + "".join(pieces) == LETTERS.decode(expected)


def test_sampling_options_arrive():
    model = models()[0]
    greedy = list(stream_text(model, LETTERS, "a", 20, temperature=0))
    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}):
        assert list(stream_text(model, LETTERS, "a", 20, **options)) == greedy
    drawn = []
    for seed in (1, 1, 2):
        generator = nnlib.random.Generator(seed)
        drawn.append("".join(stream_text(model, LETTERS, "a", 20, generator=generator)))
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_dropout_and_the_mode_comes_back():
    model = GPT(vocab_size=11, **SMALL, dropout=0.5).train()
    texts = []
    for _ in range(2):
        pieces = stream_text(model, LETTERS, "ab", 20, temperature=0)
        texts.append(next(pieces))
        assert model.training  # between pieces, too
        texts[-1] += "".join(pieces)
    assert texts[0] == texts[1]


class TestBytePairs:
    def stream(self, pieces, script, **options):
        model = Scripted(script, pieces.vocab_size)
        return list(stream_text(model, pieces, "a", len(script), temperature=0, **options))

    def test_never_half_a_character(self, pieces):
        text = "né 字 😀! ¿cat?"
        script = pieces.encode(text).tolist()
        assert len(script) > len(text)
        parts = self.stream(pieces, script)
        assert "".join(parts) == text
        assert {"é", "字", "😀"} <= set(parts)

    def test_half_a_character_at_the_end_is_not_lost(self, pieces):
        script = pieces.encode("a字").tolist()[:-1]
        assert self.stream(pieces, script) == ["a", "\N{REPLACEMENT CHARACTER}"]

    def test_bytes_that_are_no_text_do_not_hold_the_stream_back(self, pieces):
        second = pieces.encode("字").tolist()[1]  # continues a character that never began
        parts = self.stream(pieces, [second] * 9)
        assert len(parts) == 3
        assert "".join(parts) == pieces.decode([second] * 9)

    def test_stop(self, pieces):
        script = pieces.encode("cat<end>dog").tolist()
        assert "".join(self.stream(pieces, script, stop="<end>")) == "cat"
        with pytest.raises(OptionError, match="special ones: <end>"):
            self.stream(pieces, script, stop="<stop>")


def test_errors_come_at_the_call():
    model = models()[1]
    with pytest.raises(OptionError, match="at least one token"):
        stream_text(model, LETTERS, "", 5)
    with pytest.raises(DataError, match="'z' at position 0"):
        stream_text(model, LETTERS, "z", 5)
    with pytest.raises(OptionError, match="temperature"):
        list(stream_text(model, LETTERS, "a", 5, temperature=-1))
