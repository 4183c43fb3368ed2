"""The recipe for an operation, carried out on a copy of the tree as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEADING = "## Recipe: an operation"
COPIED = ("nnlib", "backends", "tests", "pyproject.toml", "conftest.py")

USE = """
import numpy as np
import nnlib
from nnlib import nn, ops
from nnlib.nn import functional as F

assert nnlib.gaussian is F.gaussian is ops.gaussian
assert "gaussian" in nnlib.__all__ and "Gaussian" in nn.__all__
assert repr(nn.Gaussian()) == "Gaussian()" and "a bell" in nn.Gaussian.__doc__
x = nnlib.tensor([[-0.5, 0.3, 1.7]], dtype="float64", requires_grad=True)
assert nnlib.gradcheck(nn.Gaussian(), [x])
nnlib.gaussian(x).sum().backward()
step = nnlib.compile(lambda x: nn.Gaussian()(x) * 2)
for value in (1.0, 2.0, 3.0, 4.0):
    found = step(nnlib.tensor([value]))
    assert abs(found.item() - 2 * np.exp(-value * value)) < 1e-6
half = nnlib.gaussian(nnlib.tensor([0.5], dtype="float16"))
assert half.dtype == "float16" and half.item() == np.float16(np.exp(-0.25))
with nnlib.autocast("fp16"):
    assert nnlib.gaussian(half).dtype == "float16"
import strict_backend
strict_backend.register()
there = nnlib.tensor([0.5], backend="strict", requires_grad=True)
nn.Gaussian()(there).sum().backward()
assert there.grad.backend.name == "strict"
"""

GENERIC = (
    "tests/ops", "tests/nn/test_activation.py", "tests/nn/test_function_layer.py",
    "tests/test_copies.py", "tests/test_docstrings.py", "tests/test_arguments.py",
    "nnlib/ops/activation.py", "nnlib/nn/activation.py",
)  # fmt: skip


def recipe():
    """Return (file, where, code) of each block: the end of a file, or the name of a list in it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    steps, file, where = [], None, None
    for part in re.split(r"^(?=\d\. |   In `|   At the end|   ```)", section, flags=re.MULTILINE):
        if named := re.match(r"\d\. `(\S+\.py)`", part):
            file = named[1]
        elif named := re.match(r"   (?:In `(\w+)`|At the end)", part):
            where = named[1] or "end"
        elif part.startswith("   ```python\n"):
            code = part.removeprefix("   ```python\n").rstrip() + "\n"
            steps.append((file, where, re.sub(r"^   ", "", code, flags=re.MULTILINE)))
    return steps


def carry_out(folder, file, where, code):
    path = folder / file
    text = path.read_text(encoding="utf-8")
    if where == "end":
        text = f"{text}\n\n{code}"
    else:
        assert text.count(f"\n{where} = [\n") == 1, f"{file} has no list {where}"
        text = text.replace(f"\n{where} = [\n", f"\n{where} = [\n{code}")
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree in which the recipe is carried out, but for its row."""
    folder = tmp_path_factory.mktemp("tree")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))
        else:
            shutil.copy(ROOT / name, folder)
    for step in recipe():
        if not step[0].startswith("tests/"):
            carry_out(folder, *step)
    return folder


def run(folder, *command):
    paths = [str(folder / part) for part in (".", "backends", "tests", "tests/doubles")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NNLIB_NATIVE": "0",  # nothing is compiled again for the copy
    }
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )


def pytest_in(folder, *arguments):
    return run(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def test_it_takes_at_most_four_files_and_twenty_lines():
    steps = recipe()
    lines = [line for _, _, code in steps for line in code.splitlines() if line.strip()]
    assert len(steps) == 5
    assert len({file for file, _, _ in steps}) <= 4
    assert len(lines) <= 20


def test_the_operation_is_there_under_all_its_names(tree):
    done = run(tree, "-c", USE)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_row_is_missed_and_then_brings_all_tests(tree):
    done = pytest_in(tree, "tests/ops/test_table.py")
    assert "add a row to tests/ops/table_*.py for ['gaussian']" in done.stdout
    for step in recipe():
        if step[0].startswith("tests/"):
            carry_out(tree, *step)
    files = sorted({file for file, _, _ in recipe()})
    run(tree, "-m", "ruff", "check", "--fix", "-q", *files)  # names in __all__ are sorted
    for command in (("check", *files), ("format", "--check", *files)):
        done = run(tree, "-m", "ruff", *command)
        assert done.returncode == 0, done.stdout
    done = pytest_in(tree, "-k", "gaussian or Gaussian or test_table or 16_bits", *GENERIC)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 50, done.stdout


@pytest.mark.slow
def test_an_activation_without_a_layer_is_missed(tree):
    path = tree / "nnlib/nn/activation.py"
    text = path.read_text(encoding="utf-8")
    changed = text.replace("function=ops.gaussian", "function=ops.relu")
    path.write_text(changed, encoding="utf-8")
    done = pytest_in(tree, "tests/nn/test_activation.py", "-k", "has_a_layer")
    path.write_text(text, encoding="utf-8")
    assert "add a layer to nnlib/nn/activation.py for ['gaussian']" in done.stdout
