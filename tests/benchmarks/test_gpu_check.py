"""The script for a CUDA machine, as far as it goes without one: small, on NumPy."""

import doctest
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the script is for bash")


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(out, *arguments, python=sys.executable):
    environment = {**os.environ, "PYTHON": str(python), "NNLIB_NUM_THREADS": "1"}
    command = ["bash", str(SCRIPT), "--backend", "numpy", "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_syntax():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_the_limits_of_all_parts_together_are_under_nine_minutes():
    words = [line.split() for line in SCRIPT.read_text("utf8").splitlines()]
    limits = [int(line[2]) for line in words if line[:1] == ["part"] and len(line) > 2]
    assert len(limits) == 7
    assert sum(limits) < 540 - 5


def test_parts_leave_json_and_a_table(tmp_path):
    done = run(tmp_path / "out", "--only", "machine,bandwidth")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf8"))
    assert [part["name"] for part in summary["parts"]] == ["machine", "bandwidth"]
    assert summary["bandwidth"]["copy_bytes_per_second"] > 0
    assert all("error" not in row for row in summary["bandwidth"]["kernels"])
    assert all("error" not in row for row in summary["bandwidth"]["products"])
    names = {row["name"] for row in summary["bandwidth"]["kernels"]}
    assert {"layer_norm backward", "max_pool2d forward", "adam update"} <= names
    assert done.stdout.splitlines()[-1].startswith("all together")
    assert "GB/s" in done.stdout


def test_a_part_that_fails_does_not_stop_the_others(tmp_path):
    stub = tmp_path / "python"
    stub.write_text(
        f"""#!/bin/sh
case "$*" in
*gpu_summary*) exec {sys.executable} "$@" ;;
*"nnlib info"*) echo no driver; exit 7 ;;
*"-m pytest"*) echo "2 failed, 3 passed in 1s"; exit 1 ;;
*) echo fine ;;
esac
"""
    )
    stub.chmod(0o755)
    done = run(tmp_path / "out", "--only", "machine,bandwidth,tests", python=stub)
    assert done.returncode == 1
    assert "exit code 7: no driver" in done.stdout
    assert "2 failed, 3 passed" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf8"))
    assert [part["exit_code"] for part in summary["parts"]] == [7, 0, 1]
    assert summary["bandwidth"] is None


def test_wrong_options_are_refused(tmp_path):
    done = run(tmp_path, "--nonsense")
    assert done.returncode == 2
    assert "no such option" in done.stderr


def test_the_summary_in_words():
    assert doctest.testmod(load("gpu_summary")).failed == 0


def test_shares_are_of_the_copy_rate():
    text = load("gpu_summary").table(
        [{"name": "tests", "seconds": 3, "result": "done"}],
        {
            "device": {"name": "A card"},
            "copy_bytes_per_second": 3e12,
            "kernels": [
                {"name": "good", "share_of_copy": 0.9},
                {"name": "slow", "share_of_copy": 0.5},
                {"name": "broken", "error": "no"},
            ],
        },
        4,
    )
    assert "1 of 3 kernels reach 80 %" in text
    assert "good" not in text
    assert text.index("broken") < text.index("slow")
