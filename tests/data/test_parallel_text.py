import pytest

from nnlib.data import ParallelText, near_duplicates, parallel_text
from nnlib.data.parallel_text import words
from nnlib.errors import DataError, DataNotFoundError, OptionError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("Jesus wept .\tY lloró Jesús .\n a \tb c\n", encoding="utf-8")
    return path


def numbered(n):
    return ParallelText(
        tuple(f"source {i}" for i in range(n)), tuple(f"target {i}" for i in range(n))
    )


def test_lines_are_pairs(file):
    text = parallel_text(file)
    assert text == ParallelText(("Jesus wept .", "a"), ("Y lloró Jesús .", "b c"))
    assert len(text) == 2
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert parallel_text(file) == text  # ends of lines of Windows, none after the last


def test_relative_path_in_the_data_folder(file, monkeypatch):
    monkeypatch.setenv("NNLIB_DATA", str(file.parent))
    assert len(parallel_text("pairs.tsv")) == 2


@pytest.mark.parametrize("line", ["no tab", "a\tb\tc", "a\t", "\tb", ""])
def test_what_is_no_pair_is_named_with_its_line(file, line):
    file.write_text(f"a\tb\n{line}\nc\td\n")
    with pytest.raises(DataError, match=r"pairs\.tsv, line 2: every line must be") as caught:
        parallel_text(file)
    assert repr(line) in str(caught.value)


def test_absent_or_not_utf8(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"nowhere\.tsv.*NNLIB_DATA"):
        parallel_text(tmp_path / "nowhere.tsv")
    (tmp_path / "latin.tsv").write_bytes("a\tá".encode("latin-1"))
    with pytest.raises(DataError, match="must be UTF-8"):
        parallel_text(tmp_path / "latin.tsv")


def test_sides_of_unequal_length():
    with pytest.raises(DataError, match="2 sources, 1 targets"):
        ParallelText(("a", "b"), ("x",))


def test_split():
    text = numbered(50)
    split = text.split(validation=5, test=10, seed=1)
    assert [len(part) for part in split[:3]] == [35, 5, 10]
    assert split.removed == 0
    assert sorted(s for part in split[:3] for s in part.source) == sorted(text.source)
    assert all(
        s.split()[1] == t.split()[1]
        for part in split[:3]
        for s, t in zip(part.source, part.target, strict=True)
    )
    assert split == text.split(5, 10, seed=1)
    assert split.test != text.split(5, 10, seed=2).test


def test_repetitions_are_left_out_of_training():
    base = numbered(40)
    source = (*base.source, *(s.upper() + " !" for s in base.source))  # the same words
    target = (*base.target, *(f"other {i}" for i in range(40)))
    for text in (ParallelText(source, target), ParallelText(target, source)):
        split = text.split(validation=4, test=8, seed=0)
        held_out = {words(s) for part in split[1:3] for s in part.source}
        held_out_targets = {words(t) for part in split[1:3] for t in part.target}
        assert split.removed == 80 - 12 - len(split.train) > 0
        assert not held_out & {words(s) for s in split.train.source}
        assert not held_out_targets & {words(t) for t in split.train.target}


@pytest.mark.parametrize(("validation", "test"), [(-1, 2), (2, -1), (2, 3), (5, 5)])
def test_split_must_leave_some(validation, test):
    with pytest.raises(OptionError, match="of the 5 pairs"):
        numbered(5).split(validation, test)


def test_near_duplicates():
    verse = "In the beginning was the Word"  # groups: 4
    others = ParallelText(("x y", "he said to them"), ("z", "él les dijo"))
    text = ParallelText(
        (verse, "He said to THEM :", "he said to", "x y"), ("él les dijo mas", "a", "b", "c d e f")
    )
    assert near_duplicates(text, others) == [0, 1, 2, 3]  # 1/2 of the target; all; 1/2; all
    assert near_duplicates(text, others, share=0.6) == [1, 3]
    assert near_duplicates(others, numbered(3)) == []
    with pytest.raises(OptionError, match="share"):
        near_duplicates(text, others, share=0)


def test_new_testament(data_root):
    path = data_root / "eng-spa-nt.tsv"
    if not path.is_file():
        pytest.skip("real data needed: eng-spa-nt.tsv in the folder NNLIB_DATA")
    text = parallel_text(path)
    assert len(text) == 7974
    assert text.target[text.source.index("Jesus wept .")] == "Y lloró Jesús ."
    split = text.split(200, 400)
    assert len(split.train) + split.removed == 7374
