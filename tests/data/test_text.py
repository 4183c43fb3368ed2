import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlib.data import text
from nnlib.data.text import CharacterText
from nnlib.errors import DataError, DataNotFoundError, LabelError, OptionError


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.txt"
    path.write_text("äh, öh: naïve 字😀\n" * 10, encoding="utf-8")
    return path


def test_numbers_stand_for_the_characters(song):
    content = song.read_text(encoding="utf-8")
    result = text(song)
    assert result.vocabulary == "".join(sorted(set(content)))
    assert result.train.dtype == np.int64
    assert result.decode(np.concatenate([result.train, result.validation])) == content
    np.testing.assert_array_equal(result.encode(content)[: len(result.train)], result.train)


def test_split(song):
    whole = text(song, validation=0)
    assert len(whole.validation) == 0
    parts = text(song, validation=0.25)
    assert len(parts.validation) == round(len(whole.train) * 0.25)
    np.testing.assert_array_equal(parts.train, whole.train[: len(parts.train)])


def test_relative_path_in_the_data_folder(song, monkeypatch):
    monkeypatch.setenv("NNLIB_DATA", str(song.parent))
    assert len(text("song.txt").train)


def test_shakespeare(data_root):
    path = data_root / "tinyshakespeare.txt"
    if not path.is_file():
        pytest.skip("real data needed: tinyshakespeare.txt in the folder NNLIB_DATA")
    result = text(path)
    assert (len(result.train), len(result.validation)) == (1_003_855, 111_539)
    assert len(result.vocabulary) == 65
    assert result.decode(result.train[:14]) == "First Citizen:"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_decode_undoes_encode(content):
    vocabulary = "".join(sorted(set(content)))
    empty = np.empty(0, np.int64)
    codec = CharacterText(vocabulary, empty, empty)
    assert codec.decode(codec.encode(content)) == content


class TestErrors:
    @pytest.mark.parametrize("unknown", ["z", "\t", "\U0010ffff"])  # between, before, behind
    def test_unknown_character(self, song, unknown):
        with pytest.raises(DataError, match="at position 2") as caught:
            text(song).encode(f"he{unknown}")
        assert repr(unknown) in str(caught.value)

    @pytest.mark.parametrize("number", [-1, 1000])
    def test_number_out_of_range(self, song, number):
        with pytest.raises(LabelError, match="numbers must be in 0 …"):
            text(song).decode([0, number])

    def test_absent(self, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"nowhere\.txt.*NNLIB_DATA"):
            text(tmp_path / "nowhere.txt")

    def test_empty(self, tmp_path):
        (tmp_path / "empty.txt").touch()
        with pytest.raises(DataError, match=r"empty\.txt must hold text"):
            text(tmp_path / "empty.txt")

    def test_unreadable(self, song, monkeypatch):
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("builtins.open", refuse)
        with pytest.raises(DataError, match=r"cannot be read: Permission denied"):
            text(song)

    def test_latin_1(self, tmp_path):
        (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
        with pytest.raises(DataError, match=r"latin\.txt must be UTF-8.*0xef at position 2"):
            text(tmp_path / "latin.txt")

    @pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
    def test_share_out_of_range(self, song, share):
        with pytest.raises(OptionError, match="validation must be in"):
            text(song, validation=share)
