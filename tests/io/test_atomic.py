import errno
import os
import socket
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

import nnlib
from nnlib.errors import InputError, NnlibError, OutputError
from nnlib.io import check_writable, make_folder, reading, writing

posix = pytest.mark.skipif(os.name != "posix", reason="files as POSIX has them")


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

    def sync(handle):
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", sync)
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *args: order.append("replace") or replace(*args))
    write(path)
    assert order == ["file", "replace", "folder"]


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


# Special files ---------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "socket", "device", "link to a pipe", "open pipe"])
def special(request, tmp_path):
    """The path of a file that is none."""
    if os.name != "posix":
        pytest.skip("files as POSIX has them")
    path = tmp_path / "special"
    if request.param == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path)[-100:] if len(str(path)) < 100 else os.path.relpath(path))
            yield path
    elif request.param in ("device", "open pipe"):
        ends = os.openpty() if request.param == "device" else os.pipe()
        yield os.ttyname(ends[1]) if request.param == "device" else f"/dev/fd/{ends[1]}"
        for end in ends:
            os.close(end)
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to("fifo")
        yield path if "link" in request.param else tmp_path / "fifo"


def test_special_files_are_neither_replaced_nor_read(special):
    before, names = os.lstat(special), os.listdir(os.path.dirname(special))
    for write_it in (
        lambda: write(special),
        lambda: check_writable(special),
        lambda: nnlib.save({"w": np.ones(3)}, special),
    ):
        with pytest.raises(OutputError, match=r"written: it is a (named pipe|socket|dev)"):
            write_it()
    with pytest.raises(InputError, match="cannot be read: it is a"), reading(special):
        pass
    after = os.lstat(special)
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    assert os.listdir(os.path.dirname(special)) == names


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "\ud800", "x" * 300 + "/y"])
def test_names_that_no_file_can_have(tmp_path, name):
    for refused in (
        lambda: write(tmp_path / name),
        lambda: check_writable(tmp_path / name),
        lambda: make_folder(tmp_path / name),
    ):
        with pytest.raises(OutputError, match="cannot be written"):
            refused()
    with pytest.raises(InputError), reading(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())


@posix
def test_a_link_to_itself(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="symbolic link"):
        write(tmp_path / "loop")


# Permissions -----------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666])
def test_permissions_are_those_of_the_old_file_from_the_first_byte(path, mode, monkeypatch):
    path.chmod(mode)
    made = []
    open_file = os.open

    def noted(name, flags, permissions=0o777, **options):
        handle = open_file(name, flags, permissions, **options)
        if flags & os.O_CREAT:
            made.append(stat.S_IMODE(os.fstat(handle).st_mode))
        return handle

    monkeypatch.setattr(os, "open", noted)
    umask = os.umask(0)
    try:
        with writing(path) as file:
            during = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            file.write(b"new")
    finally:
        os.umask(umask)
    assert made == [0o600]  # nobody else can open it before it has its permissions
    assert during == stat.S_IMODE(path.stat().st_mode) == mode


# What killed processes leave -------------------------------------------------------------------

HALF = """
import sys, time
from nnlib.io import writing
with writing(sys.argv[1]) as file:
    file.write(b"half" * 100_000)
    print("half", flush=True)
    time.sleep(600)
"""


@posix
def test_what_a_killed_process_left_is_removed_by_the_next_write(path):
    with subprocess.Popen([sys.executable, "-c", HALF, path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        write(path, b"another")  # it lives: its file is left alone
        (left,) = set(content(path)) - {"file.bin"}
        process.kill()
    assert set(content(path)) == {"file.bin", left}
    write(path)
    assert content(path) == {"file.bin": b"new"}


@posix
def test_leftovers_of_earlier_versions_and_files_of_others(path):
    path.with_name(".nnlib-0123456789abcdef.tmp").write_bytes(b"half")
    path.with_name(".nnlib-notes").write_bytes(b"mine")
    path.with_name("nnlib.tmp").write_bytes(b"mine")
    (path.parent / ".nnlib-folder.tmp").mkdir()
    os.mkfifo(path.parent / ".nnlib-pipe.tmp")
    write(path)
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {
        "file.bin",
        ".nnlib-notes",
        "nnlib.tmp",
        ".nnlib-folder.tmp",
        ".nnlib-pipe.tmp",
    }


def test_many_writers_in_one_folder(tmp_path):
    errors = []

    def work(name):
        try:
            for i in range(30):
                write(tmp_path / name, bytes([i]) * 1000)
        except OutputError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(str(i % 3),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert content(tmp_path / "x") == {name: bytes([29]) * 1000 for name in "012"}


@posix
def test_where_files_cannot_be_locked_none_is_taken_for_a_leftover(path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with writing(path) as file:
        file.write(b"first")
        write(path.with_name("other"))
    assert content(path) == {"file.bin": b"first", "other": b"new"}
