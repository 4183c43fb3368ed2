"""What pyproject.toml says is said nowhere else in another way: Pythons, tools, version."""

import re
import tomllib
from pathlib import Path

import nnlib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text("utf8")
PYTHONS = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["classifiers"]
    if re.search(r":: 3\.\d+$", classifier)
]


def test_hooks_before_a_commit_use_the_versions_of_the_tests():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf8")
    pinned = re.findall(r'"([\w-]+[=>].*?)"', hooks)
    extras = PROJECT["optional-dependencies"]
    known = {*PROJECT["dependencies"], *extras["test"], *extras["text"]}
    assert set(pinned) <= known
    assert {re.split("[=>]", line)[0] for line in pinned} >= {"ruff", "mypy", "numpy"}


def test_every_python_is_tested():
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    matrix = re.search(r"python: \[(.*?)\]", WORKFLOW)[1]
    assert re.findall(r"[\d.]+", matrix) == PYTHONS
    loop = re.search(r"for version in (.*?);", (ROOT / ".ci/run").read_text("utf8"))[1]
    assert loop.split() == PYTHONS


def test_the_version_to_cite_is_this_one():
    citation = (ROOT / "CITATION.cff").read_text("utf8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == nnlib.__version__
