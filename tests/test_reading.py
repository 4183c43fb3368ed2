import os
import sys

import pytest

from nnlib.errors import InputError, InputNotFoundError
from nnlib.io import reading


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
