import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnlib_backends
from nnlib_backends.cupy_backend.tuning_cache import TuningCache

GPU = ("cublaslt", "12.9.1", "NVIDIA H100 80GB HBM3")


@pytest.fixture
def choices(tmp_path):
    return TuningCache(*GPU, tmp_path / "new" / "folder")


def again(choices):
    return TuningCache(*GPU, choices.path.parent)


def test_choices_are_found_by_the_next_process(choices):
    assert choices.load("a") is None
    choices.store("a", [1, "x"])
    choices.store("b", {"engine": 3})
    assert (choices.load("a"), choices.load("b")) == ([1, "x"], {"engine": 3})
    assert (again(choices).load("a"), again(choices).load("b")) == ([1, "x"], {"engine": 3})
    assert [path.name for path in choices.path.parent.iterdir()] == [choices.path.name]


def test_other_versions_and_gpus_have_other_files(choices):
    choices.store("a", 1)
    for other in (("cudnn", *GPU[1:]), ("cublaslt", "13.0", GPU[2]), (*GPU[:2], "NVIDIA/A100 ×")):
        assert TuningCache(*other, choices.path.parent).load("a") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b'{"a": 1'])
def test_a_damaged_file_is_an_empty_one(choices, content):
    choices.path.parent.mkdir(parents=True)
    choices.path.write_bytes(content)
    assert choices.load("a") is None
    choices.store("a", 1)
    assert again(choices).load("a") == 1


def test_a_folder_that_cannot_be_written_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    choices = TuningCache(*GPU, tmp_path / "file" / "folder")
    assert choices.store("a", 1) is None
    assert choices.load("a") == 1
    assert again(choices).load("a") is None


def test_nothing_is_left_behind_when_a_file_cannot_be_replaced(choices, monkeypatch):
    def full(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", full)
    assert choices.store("a", 1) is None
    assert list(choices.path.parent.iterdir()) == []


def test_what_another_process_has_stored_is_kept(choices):
    choices.store("a", 1)
    program = (
        "import sys; from nnlib_backends.cupy_backend.tuning_cache import TuningCache\n"
        f"TuningCache(*{GPU!r}, sys.argv[1]).store('b', 2)"
    )
    path = str(Path(nnlib_backends.__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", program, str(choices.path.parent)],
        check=True, env={**os.environ, "PYTHONPATH": path}, timeout=60,
    )  # fmt: skip
    choices.store("c", 3)
    assert [again(choices).load(name) for name in "abc"] == [1, 2, 3]


def test_of_two_processes_the_first_decides(choices):
    other = again(choices)
    assert (choices.load("a"), other.load("a")) == (None, None)
    assert choices.store("a", 1) == 1
    assert other.store("a", 2) == 1
    assert (other.load("a"), again(choices).load("a")) == (1, 1)


def test_a_choice_that_was_found_and_is_of_no_use_is_replaced(choices):
    choices.store("a", "no algorithm of this library")
    later = again(choices)
    assert later.load("a") == "no algorithm of this library"
    assert later.store("a", 2) == 2
    assert again(choices).load("a") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="the folder has another name")
def test_the_default_is_the_users_folder_for_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert TuningCache(*GPU).path.parent == tmp_path / "nnlib" / "choices"
