import subprocess
import time

import pytest

from nnlib_benchmarks.machine import (
    CpuMeter,
    blas_libraries,
    describe_machine,
    git_commit,
    version_of,
)


def test_everything_that_a_reader_needs_is_there(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("MY_SECRET", "password")

    machine = describe_machine(gpus=["A GPU"])

    assert machine.cpu
    assert machine.threads >= 1
    assert machine.memory_bytes > 2**28
    assert machine.gpus == ["A GPU"]
    assert machine.packages["numpy"].startswith("2.")
    assert machine.environment["OPENBLAS_NUM_THREADS"] == "1"
    assert "MY_SECRET" not in machine.environment


def test_what_others_use_of_the_processor_is_told_apart_from_our_own_work(monkeypatch):
    readings = iter([(100.0, 20.0, 5.0), (200.0, 80.0, 55.0)])
    monkeypatch.setattr(CpuMeter, "_read", lambda self: next(readings))

    # of 100 s of all processors 60 were busy, 50 of them with our work
    assert CpuMeter().used_by_others() == pytest.approx(0.1)


def test_our_own_work_does_not_count():
    meter = CpuMeter()
    begin = time.process_time()
    while time.process_time() - begin < 0.3:
        pass

    _, _, own = meter._read()
    assert own - meter._own > 0.25
    assert meter.used_by_others() < 1


def test_numpys_blas_is_found():
    assert blas_libraries()[0].threads >= 1


def test_a_distribution_that_is_not_installed_has_no_version():
    assert version_of("numpy")
    assert version_of("no-such-distribution") is None


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "nnlib"
    folder.mkdir()
    (folder / "__init__.py").write_text("")

    def git(*arguments):
        who = ["-c", "user.name=t", "-c", "user.email=t@t"]
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    return folder, git


def test_the_commit_of_a_checkout_and_whether_it_was_changed(checkout):
    folder, git = checkout
    git("add", ".")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")

    assert git_commit(folder) == commit
    (folder / "__init__.py").write_text("changed")
    assert git_commit(folder) == commit + "+changes"


def test_somebody_elses_repository_around_site_packages_does_not_count(checkout):
    folder, git = checkout
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    assert git_commit(folder) is None


def test_no_repository_no_commit(tmp_path):
    assert git_commit(tmp_path) is None
