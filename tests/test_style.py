"""The three tools that read the code, as tests: ruff, mypy --strict, import-linter."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("importlinter",),
    ],
    ids=" ".join,
)
def test_tool_is_content(command):
    if command[0] == "importlinter":  # its command line is not runnable with -m
        command = ("-c", "from importlinter.cli import lint_imports_command as main; main()")
    else:
        command = ("-m", *command)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
