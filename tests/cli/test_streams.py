import errno
import io
import os
import sys
import threading

import pytest

from nnlib.cli.streams import gone, lost, standard_streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams as POSIX has them")


@pytest.fixture(params=["buffered", "unbuffered"])
def to(request, monkeypatch):
    """A function: file number → sys.stdout that writes there."""
    opened = []

    def install(number, **options):
        buffering = -1 if request.param == "buffered" else 0
        binary = os.fdopen(number, "wb", buffering=buffering)
        stream = io.TextIOWrapper(binary, write_through=not buffering, **options)
        opened.append(stream)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    yield install
    for stream in opened:
        stream.close()


def read_all(end):
    with os.fdopen(end, "rb") as file:
        return file.read()


def test_what_is_read_arrives(to):
    reads, writes = os.pipe()
    before = to(writes, encoding="utf-8")
    with standard_streams():
        print("naïve", flush=True)
        sys.stdout.buffer.write(b"bytes\n")
        assert (gone(), lost()) == (False, None)
        assert sys.stdout.fileno() == writes
        assert not sys.stdout.isatty()
    assert sys.stdout is before
    before.close()
    assert read_all(reads) == "naïve\nbytes\n".encode()


def test_characters_that_the_encoding_has_not(to):
    reads, writes = os.pipe()
    stream = to(writes, encoding="ascii")
    with standard_streams():
        print("naïve")
    stream.close()
    assert read_all(reads) == b"na?ve\n"


def test_the_reader_has_seen_enough(to):
    reads, writes = os.pipe()
    to(writes)
    with standard_streams():
        os.close(reads)
        for _ in range(3):
            print("x" * 100_000)
        assert gone()
        assert lost() is None


def test_a_full_disk(to):
    if not os.path.exists("/dev/full"):
        pytest.skip("has no /dev/full")
    to(os.open("/dev/full", os.O_WRONLY))
    with standard_streams():
        print("x" * 100_000)
        assert lost().errno == errno.ENOSPC
        print("more")


def test_a_pipe_that_does_not_block(to):
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    stream = to(writes)
    length = 300_000  # more than a pipe takes at once

    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(reads)))
    with standard_streams():
        reader.start()
        print("x" * length)
    stream.close()
    reader.join()
    assert len(got[0]) == length + 1


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_that_was_closed_from_the_start(name, monkeypatch):
    monkeypatch.setattr(sys, name, None)
    with standard_streams():
        print("x", file=getattr(sys, name))
        assert (lost() is None) == (name == "stderr")
    assert getattr(sys, name) is None


def test_streams_of_other_kinds_are_left_alone(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with standard_streams():
        print("x")
        assert sys.stdout is text
        assert not gone()
    assert text.getvalue() == "x\n"
