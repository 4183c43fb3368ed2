import json

import pytest
from click.testing import CliRunner

import nnlib
from nnlib.cli import checks
from nnlib.cli.doctor import doctor, examine
from nnlib.errors import BackendUnavailableError


def run(*args):
    return CliRunner().invoke(doctor, list(args))


def only(check):
    """The single finding of a check."""
    (finding,) = check()
    return finding


def test_all_is_well_here(monkeypatch):
    monkeypatch.delenv("NNLIB_DATA", raising=False)
    result = run("--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0, result.stdout
    assert report["ok"] is True
    assert sum(report["counts"].values()) == len(report["checks"]) >= 11
    statuses = {c["name"]: c["status"] for c in report["checks"]}
    assert statuses["backend numpy"] == statuses["backend strict"] == "ok"
    assert statuses["gradients"] == statuses["saving and loading"] == "ok"


def test_failed_check_is_3_with_its_remedy(monkeypatch):
    def check_moon():
        yield checks.Finding("moon", "fail", "is full", "wait")

    monkeypatch.setattr("nnlib.cli.doctor.CHECKS", (check_moon,))
    result = run()
    assert result.exit_code == 3
    assert result.stdout == "FAIL  moon: is full\n      remedy: wait\n1 fail\n"
    result = run("--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["ok"] is False


@pytest.mark.parametrize("status", ["ok", "note", "warning"])
def test_lesser_findings_are_0(monkeypatch, status):
    def check_moon():
        yield checks.Finding("moon", status, "is new")

    monkeypatch.setattr("nnlib.cli.doctor.CHECKS", (check_moon,))
    assert run().exit_code == 0


def test_exception_in_a_check_is_a_finding():
    def check_moon():
        """Moon."""
        raise RuntimeError("eclipse")

    (finding,) = examine(check_moon)
    assert (finding.name, finding.status) == ("Moon", "fail")
    assert finding.detail == "RuntimeError: eclipse"
    assert "nnlib info" in finding.remedy


@pytest.mark.parametrize(
    ("check", "limit"), [(checks.check_python, "PYTHON"), (checks.check_numpy, "NUMPY")]
)
def test_versions(monkeypatch, check, limit):
    assert only(check).status == "ok"
    monkeypatch.setattr(checks, limit, (99, 0))
    assert only(check).status == "fail"
    assert "older than 99.0" in only(check).detail


@pytest.mark.parametrize(
    ("cores", "threads", "status"),
    [
        (4, 4, "ok"),
        (4, 3, "ok"),
        (4, 1, "warning"),
        (4, 8, "warning"),
        (1, 1, "ok"),
        (4, None, "note"),
    ],
)
def test_blas_threads(monkeypatch, cores, threads, status):
    info = {"cores": cores, "details": {"blas_threads": threads}, "libraries": {"blas": "ours 1"}}
    monkeypatch.setattr(nnlib, "backend_info", lambda name: info)
    finding = only(checks.check_blas)
    assert finding.status == status
    assert bool(finding.remedy) == (status == "warning")


@pytest.mark.parametrize(
    ("name", "status"),
    [("numpy", "ok"), ("auto", "ok"), ("strict", "ok"), ("", "ok"), ("nmupy", "fail")],
)
def test_backend_of_the_environment(monkeypatch, name, status):
    monkeypatch.setenv("NNLIB_BACKEND", name)
    assert only(checks.check_choice).status == status


def test_missing_gpu_fails_only_when_asked_for(monkeypatch):
    error = BackendUnavailableError("cupy", "no-driver", "There is no driver.", "install it")

    def unavailable(name):
        raise error

    monkeypatch.setattr(nnlib, "available_backends", lambda: {"cupy": error})
    finding = only(checks.check_backends)
    assert (finding.status, finding.remedy) == ("note", "install it")
    monkeypatch.setenv("NNLIB_BACKEND", "cupy")
    monkeypatch.setattr(nnlib, "use_backend", unavailable)
    finding = only(checks.check_choice)
    assert (finding.status, finding.remedy) == ("fail", "install it")


def test_backend_that_computes_wrongly(monkeypatch):
    monkeypatch.setattr(nnlib, "available_backends", lambda: {"numpy": None})
    monkeypatch.setattr(nnlib, "matmul", lambda a, b: a[0, 0])
    finding = only(checks.check_backends)
    assert finding.status == "fail"
    assert "a matrix product must be" in finding.detail


def test_backend_that_does_not_learn(monkeypatch):
    monkeypatch.setattr(nnlib, "available_backends", lambda: {"numpy": None})
    monkeypatch.setattr(nnlib.optim.SGD, "step", lambda self: None)
    finding = only(checks.check_backends)
    assert finding.status == "fail"
    assert "the loss must fall" in finding.detail


def test_what_a_backend_does_without_is_a_warning(monkeypatch):
    info = {"missing": {"a-library": "AttributeError: no such name"}, "remedy": "pip install it"}
    monkeypatch.setattr(nnlib, "available_backends", lambda: {"numpy": None})
    monkeypatch.setattr(nnlib, "backend_info", lambda name: info)
    works, finding = checks.check_backends()
    assert works.status == "ok"
    assert (finding.status, finding.remedy) == ("warning", "pip install it")
    assert "without a-library: AttributeError: no such name" in finding.detail


def test_weights_that_come_back_changed(monkeypatch):
    monkeypatch.setattr(nnlib, "load", lambda path: nnlib.nn.Linear(3, 2).state_dict())
    (finding,) = examine(checks.check_files)
    assert finding.status == "fail"
    assert "must be the same" in finding.detail


def test_wrong_derivative(monkeypatch):
    rule = nnlib.tanh.rules["x"]
    wrong = type(rule)(lambda g, y: g, ("y",))
    monkeypatch.setitem(nnlib.tanh.rules, "x", wrong)
    (finding,) = examine(checks.check_gradients)
    assert (finding.name, finding.status) == ("Gradients", "fail")


def test_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NNLIB_DATA", str(tmp_path))
    assert only(checks.check_folders).status == "ok"
    monkeypatch.setenv("NNLIB_DATA", str(tmp_path / "none"))
    finding = only(checks.check_folders)
    assert finding.status == "fail"
    assert "mkdir" in finding.remedy


def test_data_folder_that_cannot_be_written(monkeypatch, tmp_path):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("NNLIB_DATA", str(tmp_path))
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    finding = only(checks.check_folders)
    assert finding.status == "warning"
    assert "Permission denied" in finding.detail


def test_mnist_is_a_note_when_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("NNLIB_DATA", str(tmp_path))
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path)
    assert only(checks.check_mnist).status == "note"


def test_a_misspelt_variable_is_noted(monkeypatch):
    monkeypatch.setenv("NNLIB_NUM_THREAD", "2")
    assert only(checks.check_variables).status == "note"
    assert "'NNLIB_NUM_THREADS'" in only(checks.check_variables).detail
    monkeypatch.delenv("NNLIB_NUM_THREAD")
    assert list(checks.check_variables()) == []
