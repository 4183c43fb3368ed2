import subprocess

import pytest

from nnlib.cli.machine import blas_libraries, git_commit, version_of


def test_numpys_blas_is_found():
    assert blas_libraries()[0]["threads"] >= 1


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
