"""Messages name a command that works for how nnlib was installed."""

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nnlib_backends import installing
from nnlib_backends.installing import install_command

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _each_time_anew():
    install_command.cache_clear()
    yield
    install_command.cache_clear()


def installed(monkeypatch, direct_url):
    """Have the package in an environment's folder, and pip's note on where it was from."""

    class Distribution:
        def read_text(self, name):
            assert name == "direct_url.json"
            return direct_url if direct_url is None else json.dumps(direct_url)

    monkeypatch.setattr(installing, "CHECKOUT", Path("/nowhere"))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution())


def test_from_a_checkout():
    assert shlex.split(install_command("cuda12")) == ["pip", "install", "-e", f"{CHECKOUT}[cuda12]"]


@pytest.mark.parametrize(
    ("direct_url", "command"),
    [
        (None, "pip install 'nnlib-xp[plot]'"),
        (
            {"url": "file:///tmp/nnlib_xp-1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'nnlib-xp[plot] @ file:///tmp/nnlib_xp-1.0-py3-none-any.whl'",
        ),
        (
            {"url": "https://example.org/n.whl", "archive_info": {"hash": "sha256=0"}},
            "pip install 'nnlib-xp[plot] @ https://example.org/n.whl'",
        ),
        (
            {"url": "file:///home/my%20user/nnlib", "dir_info": {}},
            "pip install '/home/my user/nnlib[plot]'",
        ),
        (
            {"url": "file:///home/user/nnlib", "dir_info": {"editable": True}},
            "pip install -e '/home/user/nnlib[plot]'",
        ),
        (
            {
                "url": "https://example.org/nnlib.git",
                "vcs_info": {"vcs": "git", "commit_id": "0a1b2c"},
            },
            "pip install 'nnlib-xp[plot] @ git+https://example.org/nnlib.git@0a1b2c'",
        ),
        ({"url": "file:///x", "dir_info": "damaged"}, "pip install '/x[plot]'"),
        (["damaged"], "pip install 'nnlib-xp[plot]'"),
    ],
)
def test_from_elsewhere(monkeypatch, direct_url, command):
    installed(monkeypatch, direct_url)
    assert install_command("plot") == command


def test_not_installed_at_all(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installing, "CHECKOUT", Path("/nowhere"))
    monkeypatch.setattr("importlib.metadata.distribution", missing)
    assert install_command("plot") == "pip install 'nnlib-xp[plot]'"


def test_pip_understands_it(monkeypatch):
    requirements = pytest.importorskip("packaging.requirements")
    wheel = {"url": "file:///tmp/nnlib_xp-1.0-py3-none-any.whl", "archive_info": {}}
    installed(monkeypatch, wheel)
    requirement = requirements.Requirement(shlex.split(install_command("plot"))[-1])
    assert (requirement.name, requirement.extras) == ("nnlib-xp", {"plot"})
    assert requirement.url == wheel["url"]


def test_no_text_names_an_index():
    """No message and no page tells to install by the name alone, which no index knows."""
    files = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    paths = [CHECKOUT / name for name in files.stdout.split() if not name.startswith("tests/")]
    if files.returncode:  # no git, or no checkout
        pytest.skip("needs a checkout")
    assert paths
    found = [
        path.name
        for path in paths
        if path.name not in ("installing.py", "CHANGELOG.md")
        and "install 'nnlib-xp[" in path.read_text(encoding="utf8")
    ]
    assert found == []


def test_every_extra_that_a_message_names_exists():
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf8")
    table = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = ", table, re.MULTILINE))
    named = set()
    for folder in ("nnlib", "backends", "benchmarks", "examples"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            source = path.read_text(encoding="utf8")
            named |= set(re.findall(r"install_command\(\"(\w+)\"\)", source))
            named |= set(re.findall(r"missing_extra\([^()]*?, \"(\w+)\"\)", source))
    assert named >= {"plot", "text", "peers", "cuda12"}
    assert named <= extras


def test_it_costs_no_import_of_nnlib():
    code = "import sys, nnlib_backends.installing; print('nnlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
