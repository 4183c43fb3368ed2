"""Verbs that other packages bring."""

import os
import subprocess
import sys

import click
import pytest

from nnlib.cli import plugins

GOOD = """
import click
@click.command(short_help="Say hello.")
def hello():
    click.echo("hello")
"""


@pytest.fixture
def install(tmp_path):
    """A function: module text → what `python -m nnlib ARGUMENTS` does beside such a package."""

    def call(text, *arguments, verb="hello"):
        (tmp_path / "guest.py").write_text(text)
        info = tmp_path / "guest-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nnlib.commands]\n{verb} = guest:hello\n")
        path = os.pathsep.join([str(tmp_path), *sys.path])
        return subprocess.run(
            [sys.executable, "-m", "nnlib", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )

    return call


def test_a_package_brings_a_verb(install):
    done = install(GOOD, "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_help_lists_it(install):
    done = install(GOOD, "--help")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip()]
    assert ["hello", "Say hello."] in lines
    assert ["bench", "Time the same training on every backend."] in lines


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("import absent_package", 4, "No module named 'absent_package'"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("hello = 3", 1, "a click command is needed"),
        ("", 1, "AttributeError"),
    ],
)
def test_a_broken_one_says_why(install, text, code, message):
    done = install(text, "hello", "--help")
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_one_stops_no_other(install):
    done = install("1 / 0", "--help")
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded: ZeroDivisionError" in done.stdout
    assert "info" in done.stdout


def test_no_package_takes_the_place_of_a_verb_of_nnlib(install):
    done = install(GOOD, "info", "--help", verb="info")
    assert "Describe this machine" in done.stdout, done.stderr


def test_a_checkout_needs_no_metadata(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [])
    plugins.commands.cache_clear()
    try:
        points = plugins.commands()
        assert {name: point.value for name, point in points.items()} == {
            "bench": "nnlib_benchmarks.command:bench"
        }
        assert isinstance(plugins.load_command(points["bench"]), click.Command)
    finally:
        plugins.commands.cache_clear()


@pytest.mark.parametrize("text", [None, "[tool.ruff]\n", '[project]\nname = "other"\n'])
def test_the_project_around_an_installed_nnlib_is_not_its_checkout(tmp_path, text):
    path = tmp_path / "pyproject.toml"
    if text is not None:
        path.write_text(text + '[project.entry-points."nnlib.commands"]\nx = "y:z"\n')
    assert plugins._of_checkout(path) == []
