import gzip
import os
import sys

import pytest

from nnlib.errors import DataError, FileFormatError, InputError, InputNotFoundError, OutputError
from nnlib.reading import Content, expect, parse_json, parsing, read_json, reading


def test_gives_the_content(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"whole")
    with reading(path) as file:
        assert file.read() == b"whole"
    assert file.closed


def test_a_missing_file(tmp_path):
    with pytest.raises(InputNotFoundError, match="nowhere must be an existing file") as caught:  # noqa: SIM117
        with reading(tmp_path / "nowhere"):
            pass
    assert isinstance(caught.value, FileNotFoundError)


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot be read: it is a folder"), reading(tmp_path):
        pass


@pytest.mark.skipif(
    sys.platform == "win32" or getattr(os, "geteuid", int)() == 0, reason="root may read all"
)
def test_without_permission(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"), reading(path):
        pass


def test_a_disk_that_fails_while_reading(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"whole")
    with pytest.raises(InputError, match="cannot be read: Input/output error"), reading(path):
        raise OSError(5, "Input/output error")


def test_other_errors_pass(tmp_path):
    path = tmp_path / "note"
    path.write_bytes(b"whole")
    with pytest.raises(ZeroDivisionError), reading(path):
        raise ZeroDivisionError


@pytest.mark.parametrize("error", [OutputError("full"), InputNotFoundError("another")])
def test_errors_of_the_library_pass(tmp_path, error):
    path = tmp_path / "note"
    path.write_bytes(b"whole")
    with pytest.raises(type(error)) as caught, reading(path):
        raise error
    assert caught.value is error
    with pytest.raises(type(error)) as caught, parsing(path, "sound"):
        raise error
    assert caught.value is error


def deep():
    return deep()


@pytest.mark.parametrize(
    "damage",
    [
        lambda: int("x"),
        lambda: {}["x"],
        lambda: [][0],
        lambda: None.x,
        lambda: len(3),
        lambda: 1 / 0,
        lambda: int(float("inf")),
        lambda: b"\xff".decode(),
        lambda: gzip.decompress(b"\x1f\x8bx"),
        deep,
    ],
)
def test_what_damaged_content_raises_is_typed(damage):
    with pytest.raises(FileFormatError, match=r"note\.x must be sound\. Received: .+\. It may be"):  # noqa: SIM117
        with parsing("note.x", "sound"):
            damage()
    with pytest.raises(DataError), parsing("note.x", "sound", DataError):
        damage()


@pytest.mark.parametrize(
    "bug", [KeyboardInterrupt, SystemExit, NameError, ImportError, MemoryError, RuntimeError]
)
def test_what_content_cannot_raise_passes(bug):
    with pytest.raises(bug), parsing("note.x", "sound"):
        raise bug


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "3",
        "{",
        b"\xff",
        "[" * 100_000,
        '{"a": ' * 100_000,
        "[" * 900 + "]" * 900,
        "9" * 5000,
    ],
)
def test_what_is_no_json_object(tmp_path, content):
    with pytest.raises(FileFormatError, match="x must be notes"):
        parse_json(content, "x", "notes")
    path = tmp_path / "x"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FileFormatError, match="x must be notes"):
        read_json(path, "notes")


@pytest.mark.parametrize(
    ("value", "kind", "items"),
    [
        (True, int, ()),
        ([True], list, (int,)),
        (["x"], list, (int,)),
        (3, list, ()),
        ({1: "x"}, dict, (int,)),
    ],
)
def test_values_of_another_kind(value, kind, items):
    with pytest.raises(TypeError, match=r"^size "):
        expect("size", value, kind, items)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("count", [0, 9, 11, 10**6, 2**40])
def test_content_of_another_length(tmp_path, packed, count):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(b"0123456789") if packed else b"0123456789")
    with reading(path) as file:
        content = Content(file)
        assert content.packed is packed
        with pytest.raises(ValueError, match="bytes"):
            content.rest(count)
    with reading(path) as file:
        assert bytes(Content(file).rest(10)) == b"0123456789"
