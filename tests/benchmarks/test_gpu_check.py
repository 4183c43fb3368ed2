"""The script for a CUDA machine, as far as it goes without one: small, on NumPy."""

import doctest
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from strict_backend.backend import StrictBackend

import nnlib
from nnlib_benchmarks import workloads
from nnlib_benchmarks.peers import registry
from nnlib_benchmarks.schema import load_run, to_json

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
    assert len(limits) == 8
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
    assert {"softmax backward", "log_softmax forward", "clipping", "bias gradient"} <= names
    products = {row["name"] for row in summary["bandwidth"]["products"]}
    assert "fp32 VGG-16 2x4x4 512->512 backward" in products
    assert any("attention" in name for name in products)
    assert done.stdout.splitlines()[-1].startswith("all together")
    assert "GB/s" in done.stdout


def test_the_harness_parts_leave_runs_that_the_summary_reads(tmp_path):
    done = run(tmp_path / "out", "--only", "bench")
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out" / "bench").glob("*.json")
    assert [t.precision for t in load_run(file).training] == ["fp32", "bf16"]
    assert "mlp-tiny@bf16     bf16" in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text("utf8"))
    assert summary["bench"] == [f"bench/{file.name}"]


def test_every_workload_and_peer_of_the_script_is_known():
    """On a GPU the script must not end at a misspelt name."""
    text = SCRIPT.read_text("utf8")
    for names in re.findall(r"--workloads ([a-z][\w,@-]*)", text):
        assert workloads.expand(names.split(","))
    peers = dict(re.findall(r"([\w-]+-cuda):(\w+)", text))
    assert set(peers) == {"torch-cuda", "jax-cuda", "torch-compile-cuda"}
    assert peers.items() <= registry.PACKAGES.items()


def test_all_precisions_and_a_row_that_fails(monkeypatch):
    """As on a GPU, where data in bfloat16 and TF32 are measured, too."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    bandwidth = load("gpu_bandwidth")
    monkeypatch.setattr(bandwidth, "REPETITIONS", 1)
    monkeypatch.setattr(bandwidth, "WARM_UP", 1)
    monkeypatch.setattr(bandwidth, "LONG", 0.0)
    monkeypatch.setattr(StrictBackend, "mixed", frozenset({"gelu", "layer_norm"}))
    kernels = dict(StrictBackend.kernels)
    del kernels["lstm"]
    kept = []
    with nnlib.use_backend("strict") as backend:
        monkeypatch.setattr(backend, "kernels", kernels)
        result = bandwidth.measure(backend, 0.03, 64, lambda so_far: kept.append(len(so_far)))

    assert len(kept) == 4 + 3  # after every part
    rows = {row["name"]: row for row in result["kernels"]}
    assert {"bf16 gelu backward", "bf16 layer_norm forward", "silu forward"} <= set(rows)
    assert "bf16 silu forward" not in rows
    assert rows["bf16 gelu forward"]["bytes"] < rows["gelu forward"]["bytes"]
    products = {row["name"]: row for row in result["products"]}
    assert products["bf16 64x64x64"]["share_of_square"] == 1
    assert products["tf32 GPT-2 128x768x2304"]["share_of_square"] > 0
    assert "KeyError" in products["bf16 LSTM 2x64x4 forward"]["error"]
    assert "bf16 LSTM 2x64x4 forward" in bandwidth.table(result)


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
    assert [part["exit_code"] for part in summary["parts"]] == [7, 1, 0]
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


def test_a_run_on_a_card_in_a_few_lines(tmp_path, gpu_peers_run):
    summary = load("gpu_summary")
    file = tmp_path / "bench" / "run.json"
    file.parent.mkdir()
    file.write_text(to_json(gpu_peers_run), "utf8")
    bandwidth = {"products": [{"name": "square", "precision": "bf16", "flops_per_second": 2e12}]}

    lines = summary.bench_lines(file, summary.square_rate(bandwidth))

    assert lines[0] == "bench/run.json, first: Imaginary GPU 1"
    tiny, large, *rest = (re.sub(" +", " ", line).strip() for line in lines[1:])
    assert tiny == "mlp-tiny fp32 0.1 ms 5× over eager 2× over jax-cuda"
    assert large == (
        "vgg16-b64@bf16 bf16 20 ms 3200 images/s 25% of the square product 1.5× over eager "
        "1.5× over torch-cuda"
    )
    assert rest[0].startswith("cupy: VGG-16 in ")
    assert summary.runs(tmp_path) == [file]


def test_a_file_that_cannot_be_read_costs_its_lines_only(tmp_path):
    file = tmp_path / "half.json"
    file.write_text("{", "utf8")
    text = load("gpu_summary").table([], None, 3, [file])
    assert "half.json: SchemaError" in text
    assert text.endswith("all together 3 s")


def test_no_folder_of_tests_is_forgotten():
    (names,) = re.findall(r"tests=\(-m .*?\)$", SCRIPT.read_text("utf8"), re.M | re.S)
    named = {name for group in re.findall(r"\{(.*?)\}", names) for name in group.split(",")}
    here = {path.name for path in (ROOT / "tests").iterdir() if list(path.rglob("test_*.py"))}
    assert named - {"test_*.py"} == here


def test_a_peer_that_is_not_installed_is_left_out():
    (function,) = re.findall(r"^installed\(\) \{.*?^\}$", SCRIPT.read_text("utf8"), re.M | re.S)
    call = f"python={sys.executable}\n{function}\ninstalled a:json b:no_such_package c:re"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout == "a,c\n"
