import json
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlib.data import BPETokenizer, CharTokenizer, tokenizer_from_json
from nnlib.errors import (
    DataError,
    DataNotFoundError,
    FileFormatError,
    LabelError,
    MissingExtraError,
    OptionError,
)

LINES = ["the cat sat on the mat", "the hat of the cat", "¿dónde está el gato? 字 😀"] * 5
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def pieces():
    pytest.importorskip("tokenizers")
    return BPETokenizer.train(LINES, 300, special=["<s>", "</s>"])


class TestCharacters:
    def test_numbers_follow_the_vocabulary(self):
        tokenizer = CharTokenizer("zax😀")
        assert tokenizer.encode("axz😀").tolist() == [1, 2, 0, 3]
        assert tokenizer.encode("").tolist() == []
        assert tokenizer.encode("a").dtype == np.int64
        assert [tokenizer.token_id(c) for c in "zax"] == [0, 1, 2]

    @given(ANY_TEXT.filter(len))
    def test_decode_undoes_encode(self, text):
        tokenizer = CharTokenizer.from_text(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert tokenizer_from_json(tokenizer.to_json()) == tokenizer

    def test_errors(self):
        for wrong in ("", "aba"):
            with pytest.raises(OptionError, match="each once"):
                CharTokenizer(wrong)
        with pytest.raises(DataError, match="'c' at position 1"):
            CharTokenizer("ab").encode("ac")
        with pytest.raises(DataError, match="valid Unicode"):
            CharTokenizer("ab").encode("a\ud800")
        with pytest.raises(LabelError, match="0 … 1"):
            CharTokenizer("ab").decode([2])
        for wrong in ("c", "ab", ""):
            with pytest.raises(OptionError, match="one of the 2"):
                CharTokenizer("ab").token_id(wrong)
        for wrong in ('{"type": "characters"}', '{"vocabulary": "ab"}'):
            with pytest.raises(FileFormatError):
                CharTokenizer.from_json(wrong)


class TestBytePairs:
    def test_frequent_words_are_one_token(self, pieces):
        assert len(pieces.encode("the cat")) == 2
        assert len(pieces.encode("xyzzy")) == 5
        assert pieces.encode("the").dtype == np.int64
        assert pieces.encode("").shape == (0,)
        assert 258 < pieces.vocab_size <= 300

    @given(ANY_TEXT)
    def test_decode_undoes_encode(self, pieces, text):
        assert pieces.decode(pieces.encode(text)) == text

    def test_special_tokens(self, pieces):
        assert pieces.special == ("<s>", "</s>")
        assert (pieces.token_id("<s>"), pieces.token_id("</s>")) == (0, 1)
        ids = pieces.encode("<s>the cat</s>")
        assert (ids[0], ids[-1], len(ids)) == (0, 1, 4)
        assert pieces.decode(ids) == "<s>the cat</s>"
        assert pieces.decode(ids, skip_special=True) == "the cat"

    def test_the_same_texts_give_the_same_tokenizer(self, pieces):
        again = BPETokenizer.train(iter(LINES), 300, special=("<s>", "</s>"))
        assert again.to_json() == pieces.to_json()

    def test_json_and_file(self, pieces, tmp_path):
        text = "the gato sat </s>"
        path = tmp_path / "tokenizer.json"
        path.write_text(pieces.to_json(), encoding="utf-8")
        for copy in (tokenizer_from_json(pieces.to_json()), BPETokenizer.from_file(path)):
            np.testing.assert_array_equal(copy.encode(text), pieces.encode(text))
            assert repr(copy) == repr(pieces)

    def test_training_starts_no_threads(self, pieces):
        """Python warns of a fork in a process of many threads, and the library prints."""
        tasks = "/proc/self/task"
        if not os.path.isdir(tasks):
            pytest.skip("counts threads as Linux lists them")
        before = len(os.listdir(tasks)), os.environ.get("TOKENIZERS_PARALLELISM")
        BPETokenizer.train(LINES * 100, 300)
        assert (len(os.listdir(tasks)), os.environ.get("TOKENIZERS_PARALLELISM")) == before

    def test_no_length_is_forced_on_a_text(self, pieces):
        content = json.loads(pieces.to_json())
        content["padding"] = {
            "strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>",
        }  # fmt: skip
        content["truncation"] = {
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
        }  # fmt: skip
        read = BPETokenizer.from_json(json.dumps(content))
        text = "the lowest of all"
        assert read.encode(text).tolist() == pieces.encode(text).tolist()

    def test_what_the_library_panics_at_is_typed(self, pieces, monkeypatch):
        class Panic(BaseException):
            """As pyo3's, which is no Exception."""

        class Broken:
            def encode(self, text, add_special_tokens):
                raise Panic("index out of bounds")

        with pytest.raises(DataError, match="index out of bounds"):
            BPETokenizer(Broken()).encode("x")

    def test_errors(self, pieces, tmp_path):
        with pytest.raises(OptionError, match="at least 257"):
            BPETokenizer.train(LINES, 256, special=["<s>"])
        with pytest.raises(OptionError, match="several texts"):
            BPETokenizer.train("one text", 300)
        with pytest.raises(OptionError, match=r"<s>, </s>.*Did you mean '</s>'"):
            pieces.token_id("/s>")
        for wrong in ([-1], [pieces.vocab_size]):
            with pytest.raises(LabelError, match="numbers must be in"):
                pieces.decode(wrong)
        with pytest.raises(DataError, match="valid Unicode"):
            pieces.encode("a\ud800")
        with pytest.raises(DataNotFoundError, match=r"nowhere\.json"):
            BPETokenizer.from_file(tmp_path / "nowhere.json")
        with pytest.raises(DataError, match="it is a folder"):
            BPETokenizer.from_file(tmp_path)
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(FileFormatError, match=r"other\.json: .*library's format"):
            BPETokenizer.from_file(tmp_path / "other.json")


@pytest.mark.parametrize("wrong", ["", "[1]", "no json"])
def test_what_is_no_tokenizer(wrong):
    with pytest.raises(FileFormatError, match="JSON"):
        tokenizer_from_json(wrong)


def test_absent_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[text\]"):
        BPETokenizer.train(LINES, 300)
    assert tokenizer_from_json('{"type": "characters", "vocabulary": "ab"}').vocab_size == 2
