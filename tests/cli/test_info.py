import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import nnlib
from nnlib.cli.info import collect, info
from nnlib.errors import BackendUnavailableError


def run(*args, **options):
    return CliRunner().invoke(info, list(args), **options)


def test_json_has_what_a_bug_report_needs():
    result = run("--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["nnlib"] == nnlib.__version__
    assert facts["cpu"]["cores"] >= 1
    assert facts["memory_bytes"] > 2**20
    assert facts["packages"]["numpy"]
    assert facts["backends"]["numpy"]["usable"] is True
    assert facts["backends"]["numpy"]["libraries"]["numpy"]
    assert facts["current_backend"] == "numpy"


def test_text_names_the_same():
    facts = collect()
    text = run().stdout
    for value in (facts["python"], facts["cpu"]["name"], facts["packages"]["numpy"]):
        assert value in text


def test_unusable_backend_with_reason_and_remedy(monkeypatch):
    error = BackendUnavailableError("cupy", "no-driver", "There is no driver.", "install it")
    monkeypatch.setattr(nnlib, "available_backends", lambda: {"numpy": None, "cupy": error})
    assert collect()["backends"]["cupy"] == {
        "usable": False,
        "reason": "no-driver",
        "detail": "There is no driver.",
        "remedy": "install it",
    }
    text = run().stdout
    assert "cupy: not usable (no-driver): There is no driver." in text
    assert "remedy: install it" in text


def test_what_a_backend_does_without_with_the_reason(monkeypatch):
    plain = nnlib.backend_info("numpy")
    missing = {"missing": {"a-library": "AssertionError"}, "remedy": "pip install it"}
    monkeypatch.setattr(nnlib, "backend_info", lambda name=None: {**plain, **missing})
    assert json.loads(run("--json").stdout)["backends"]["numpy"]["missing"] == missing["missing"]
    lines = run().stdout.splitlines()
    assert "    without a-library: AssertionError" in lines
    assert "    remedy: pip install it" in lines


@pytest.mark.parametrize("name", ["nonsense", "cupy:99"])
def test_misspelt_backend_does_not_stop_it(monkeypatch, name):
    monkeypatch.setenv("NNLIB_BACKEND", name)
    result = run()
    assert result.exit_code == 0
    assert f"NNLIB_BACKEND={name}" in result.stdout
    assert "none: " in result.stdout


def test_environment_without_the_home_folder(monkeypatch):
    monkeypatch.setenv("NNLIB_DATA", str(Path.home() / "sets"))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    environment = collect()["environment"]
    assert environment["NNLIB_DATA"] == str(Path("~") / "sets")
    assert environment["OMP_NUM_THREADS"] == "3"
