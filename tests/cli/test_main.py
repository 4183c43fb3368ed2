"""The command line as a whole: help, exit codes, streams."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import nnlib
from nnlib import cli
from nnlib.cli.train.command import TASKS
from nnlib.errors import BackendUnavailableError, MissingExtraError, OptionError


def run(*args, **options):
    return CliRunner().invoke(cli.main, list(args), **options)


@pytest.fixture
def failing(monkeypatch):
    """Make `nnlib info` raise an error."""

    def install(error):
        @click.command()
        def info():
            raise error

        monkeypatch.setattr("nnlib.cli.info.info", info)

    return install


def test_version():
    assert run("--version").output == f"nnlib {nnlib.__version__}\n"


def test_help_lists_every_verb_without_loading_it():
    code = (
        "import sys; from nnlib.cli import VERBS, main\n"
        "try: main(['--help'])\n"
        "finally: print([v for v in VERBS if f'nnlib.cli.{v}' in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for verb in cli.VERBS:
        assert verb in done.stdout


@pytest.mark.parametrize(
    "verb", [*([verb] for verb in cli.VERBS if verb != "train"), *(["train", m] for m in TASKS)]
)
def test_every_verb_has_help_and_json(verb):
    result = run(*verb, "--help")
    assert result.exit_code == 0, result.output
    assert "--json" in result.output


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["infoo"], "Did you mean 'info'?"),
        (["info", "--jsn"], "--jsn"),
        (["--nonsense"], "--nonsense"),
        (["summary"], "lenet"),
        ([], "Usage"),
    ],
)
def test_wrong_usage_is_2(args, text):
    result = run(*args)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OptionError("sizes must be positive"), 1),
        (BackendUnavailableError("cupy", "no-driver", "No driver.", "install one"), 4),
        (MissingExtraError("pip install 'nnlib-xp[plot]'"), 4),
    ],
)
def test_errors_are_one_line_on_stderr(failing, error, code):
    failing(error)
    result = run("info")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == f"error: {error}\n"


@pytest.mark.parametrize("how", [{"args": ["--debug", "info"]}, {"env": {"NNLIB_DEBUG": "1"}}])
def test_debug_shows_the_traceback(failing, how):
    failing(OptionError("sizes must be positive"))
    result = run(*how.get("args", ["info"]), env=how.get("env"))
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_bug_keeps_its_traceback(failing):
    failing(ZeroDivisionError("a bug"))
    result = run("info")
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_interrupt_is_130(failing):
    failing(KeyboardInterrupt())
    result = run("info")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_reader_that_leaves_early_is_no_error():
    code = "from nnlib.cli import main; main(['summary', 'vgg11', '--input', '32,32,3'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        stderr = process.stderr.read()
    assert (process.returncode, stderr) == (0, b"")


def test_terminal_without_unicode():
    done = subprocess.run(
        [sys.executable, "-m", "nnlib", "summary", "mlp", "--sizes", "2,3,1"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert b"???" in done.stdout  # the rule of the table
    assert b"13" in done.stdout


@pytest.mark.parametrize(
    ("args", "environment", "code"),
    [
        (["info"], {}, 0),
        (["summary", "lenet"], {"NNLIB_BACKEND": "nonsense"}, 1),
        (["info", "more"], {}, 2),
        (["doctor"], {"NNLIB_BACKEND": "nonsense"}, 3),
    ],
)
def test_exit_codes_of_the_process(args, environment, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "nnlib", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
