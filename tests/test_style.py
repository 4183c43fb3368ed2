"""What is asked of the code as a text: ruff, mypy --strict, import-linter, length of files."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
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


def lines_without_docstrings(path):
    text = path.read_text(encoding="utf-8")
    documented = [
        node.body[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    return text.count("\n") - sum(doc.end_lineno - doc.lineno + 1 for doc in documented)


def test_longer_files_are_listed_with_their_reasons():
    """The one exception list is in docs/design.md."""
    listed = (ROOT / "docs/design.md").read_text(encoding="utf-8").partition("## Longer files")[2]
    excepted = re.findall(r"^\| `(.*?)` \|", listed, re.MULTILINE)
    longer = [
        path.relative_to(ROOT).as_posix()
        for folder in ("nnlib", "backends", "benchmarks", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if lines_without_docstrings(path) > 600
    ]
    assert longer == sorted(excepted)


def test_no_circle_of_imports():
    """Imports inside functions count, those under ``TYPE_CHECKING`` do not."""
    packages = ("nnlib", "nnlib_backends", "nnlib_benchmarks")
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imports).prepare()  # raises CycleError with the modules of a circle
