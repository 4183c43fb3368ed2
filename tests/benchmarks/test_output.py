import os
from datetime import UTC, datetime

import pytest

from nnlib.errors import OutputError
from nnlib_benchmarks.output import prepare_folder, run_name, write_atomically


def test_a_folder_is_made_with_its_parents(tmp_path):
    assert prepare_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_way_is_a_typed_error(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match=r"must be writable.*taken.*--out"):
        prepare_folder(tmp_path / "taken")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_typed_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="must be writable"):
        prepare_folder(tmp_path)


def test_files_appear_whole(tmp_path):
    write_atomically(tmp_path / "a.txt", "größer")
    write_atomically(tmp_path / "b.bin", b"\x00\x01")

    assert (tmp_path / "a.txt").read_text(encoding="utf8") == "größer"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\x01"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    write_atomically(target, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, "new")

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_two_runs_in_one_second_have_two_names(tmp_path):
    now = datetime(2026, 5, 17, 9, 30, 5, tzinfo=UTC)
    first = run_name(tmp_path, now)
    (tmp_path / f"{first}.json").write_text("{}")

    assert first == "2026-05-17T093005Z"
    assert run_name(tmp_path, now) == "2026-05-17T093005Z-2"
