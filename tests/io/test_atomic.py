import errno
import os
import stat

import pytest

from nnlib.errors import NnlibError, OutputError
from nnlib.io import writing


@pytest.fixture
def path(tmp_path):
    """An old file, alone in its folder."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    return path


def content(path):
    """Names and contents of everything in a file's folder."""
    return {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}


def write(path, data=b"new"):
    with writing(path) as file:
        file.write(data)


def test_a_new_file(tmp_path):
    write(tmp_path / "new.bin")
    assert content(tmp_path / "new.bin") == {"new.bin": b"new"}


def test_an_old_file_is_replaced(path):
    write(str(path))
    assert content(path) == {"file.bin": b"new"}


def test_until_the_end_the_old_file_is_there(path):
    with writing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_the_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("x" * 255)
    write(path)
    assert content(path) == {path.name: b"new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_or_interruption_leaves_the_old_file_and_no_other(path, error):

    def half():
        with writing(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert content(path) == {"file.bin": b"old"}


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
def test_a_failure_at_the_end_leaves_the_old_file_and_no_other(path, function, error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, function, fail)
    expected = OutputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write(path)
    assert content(path) == {"file.bin": b"old"}


def test_it_is_on_the_disk_before_it_gets_its_name(path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda _: order.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *args: order.append("replace") or replace(*args))
    write(path)
    assert order == ["fsync", "replace", "fsync"]  # the last one of the folder


def test_a_full_disk(path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match=r"file\.bin cannot be written: .*\. Free space"):
            write(path, b"x" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(path) == {"file.bin": b"old"}


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(OutputError, match=r"x\.bin cannot be written: No such.*Make the folder"):
        write(tmp_path / "nowhere" / "x.bin")
    assert not list(tmp_path.iterdir())


def test_a_file_where_the_folder_should_be(path):
    with pytest.raises(OutputError, match="Not a directory"):
        write(path / "x.bin")
    assert content(path) == {"file.bin": b"old"}


def test_a_folder_instead_of_a_file(tmp_path):
    with pytest.raises(OutputError, match=r"it is a folder\. Give another path") as caught:
        write(tmp_path)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, NnlibError)


def forbidden(path, mode, monkeypatch):
    """Take the right to write away; root has it all the same, so there the system's answer too."""
    path.chmod(mode)
    if os.geteuid() == 0:
        refuse = PermissionError(errno.EACCES, "Permission denied")
        if path.is_dir():

            def fail(*_):
                raise refuse

            monkeypatch.setattr(os, "open", fail)
        else:
            monkeypatch.setattr(os, "access", lambda *_: False)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_read_only_folder(path, monkeypatch):
    before = content(path)
    with monkeypatch.context() as patch:
        forbidden(path.parent, 0o555, patch)
        with pytest.raises(OutputError, match=r"Permission denied\. Give a path in a folder that"):
            write(path)
    path.parent.chmod(0o755)
    assert content(path) == before


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions as POSIX has them")
def test_a_read_only_file(path, monkeypatch):
    with monkeypatch.context() as patch:
        forbidden(path, 0o444, patch)
        with pytest.raises(OutputError, match="the file is read-only"):
            write(path)
    assert content(path) == {"file.bin": b"old"}


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_permissions_are_the_old_files_or_the_usual_ones(path):
    path.chmod(0o640)
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    usual, new = path.with_name("usual"), path.with_name("new")
    usual.touch()
    write(new)
    assert new.stat().st_mode == usual.stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need no rights")
def test_a_symbolic_link_stays_one(path):
    link = path.with_name("link")
    link.symlink_to(path.name)
    write(link)
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
