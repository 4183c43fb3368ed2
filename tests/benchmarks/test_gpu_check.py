"""The script for a CUDA machine, as far as it goes without one: small, on NumPy."""

import doctest
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
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


def run(out, *arguments, python=sys.executable, timeout=120):
    environment = {**os.environ, "PYTHON": str(python), "NNLIB_NUM_THREADS": "1"}
    command = ["bash", str(SCRIPT), "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)


def stub(tmp_path, cases):
    """A Python that does nothing but answer: what the words of a call contain, and what happens."""
    path = tmp_path / "python"
    lines = [f'*"{words}"*) {commands} ;;' for words, commands in cases.items()]
    path.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *lines, "*) echo fine ;;", "esac", ""]))
    path.chmod(0o755)
    return path


SUMMARY = {"gpu_summary": f'exec {sys.executable} "$@"'}


def test_syntax():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_the_limits_of_all_parts_together_are_under_eight_minutes():
    parts = re.findall(r"\bpart (\w+) (\d+) ", SCRIPT.read_text("utf8"))
    limits = {name: int(limit) for name, limit in parts}
    assert limits.pop("memcheck")  # only if it is asked for
    assert len(limits) == 9
    assert sum(limits.values()) < 480
    answers = sum(
        limits[name] for name in ("wheels", "machine", "ready", "kernels", "claim", "bench")
    )
    assert answers <= 360  # whether it works, and how fast
    names = list(limits)
    assert names[2:6] == ["ready", "kernels", "claim", "bench"]


@pytest.mark.slow
def test_a_dry_run_starts_every_part(tmp_path):
    done = run(tmp_path / "out", "--dry-run", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "out" / "summary.json").read_text("utf8"))["parts"]
    assert [part["name"] for part in parts] == [
        "wheels", "machine", "ready", "kernels", "claim", "bench", "bandwidth", "compiled", "tests"
    ]  # fmt: skip
    assert all(part["exit_code"] == 0 for part in parts)
    assert "CuPy" in (tmp_path / "out" / "ready.log").read_text("utf8")
    for name in ("kernels", "tests"):
        log = (tmp_path / "out" / f"{name}.log").read_text("utf8")
        assert "tests collected" in log
        assert "error" not in log.splitlines()[-1]
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        names = set(archive.getnames())
    assert {"out/summary.json", "out/bandwidth.json", "out/kernels.log"} <= names


@pytest.mark.parametrize("ready", [0, 3])
@pytest.mark.parametrize("options", [[], ["--incomplete"]])
def test_without_the_libraries_it_ends_at_once(tmp_path, ready, options):
    answers = {"gpu_ready": f"echo nvmath-python: it is not installed; exit {ready}", **SUMMARY}
    done = run(tmp_path / "out", *options, python=stub(tmp_path, answers))
    if ready and not options:
        assert done.returncode == 3
        assert "nvmath-python: it is not installed" in done.stderr
        assert "--incomplete" in done.stderr
        assert not (tmp_path / "out" / "bench.log").exists()
    else:
        assert done.returncode == (1 if ready else 0)
        assert (tmp_path / "out" / "bench.log").exists()


def test_memory_is_checked_only_if_asked_for(tmp_path, monkeypatch):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text("#!/bin/sh\necho 0 errors\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    done = run(tmp_path / "out", "--memcheck", python=stub(tmp_path, SUMMARY))
    assert done.returncode == 0
    assert "memcheck" in done.stdout
    assert "memcheck" not in run(tmp_path / "out", python=stub(tmp_path, SUMMARY)).stdout


def test_parts_leave_json_and_a_table(tmp_path):
    done = run(tmp_path / "out", "--dry-run", "--only", "machine,bandwidth")
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
    assert "\nall together" in done.stdout
    assert done.stdout.endswith(f"all of it: {tmp_path / 'out.tar.gz'}\n")
    assert "GB/s" in done.stdout


def test_the_harness_parts_leave_runs_that_the_summary_reads(tmp_path):
    done = run(tmp_path / "out", "--dry-run", "--only", "bench")
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
    kernels = dict(StrictBackend.kernels)
    for name in ("gelu", "layer_norm"):
        kernels[name] = replace(kernels[name], half=True)
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
    answers = {
        "nnlib info": "echo no driver; exit 7",
        "-m pytest": 'echo "2 failed, 3 passed in 1s"; exit 1',
        **SUMMARY,
    }
    python = stub(tmp_path, answers)
    done = run(tmp_path / "out", "--only", "machine,bandwidth,tests", python=python)
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


@pytest.mark.parametrize("name", ["gpu_summary", "gpu_ready"])
def test_examples(name):
    result = doctest.testmod(load(name))
    assert result.failed == 0 < result.attempted


def test_a_requirement_that_is_not_met_is_named(monkeypatch):
    ready = load("gpu_ready")
    monkeypatch.setattr(
        ready.metadata, "requires", lambda name: ["pytest<2", 'no-such>1; extra == "x"']
    )
    (line,) = ready.unmet("nvmath-python")
    assert line == f"nvmath-python needs pytest<2. Received: {pytest.__version__}"


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
    text = SCRIPT.read_text("utf8")
    (first,), (others,) = (re.findall(rf"^{n}=\((.*)\)$", text, re.M) for n in ("kernels", "tests"))
    named = {name for group in re.findall(r"\{(.*?)\}", others) for name in group.split(",")}
    named |= {word.removeprefix("tests/") for word in first.split()}
    here = {path.name for path in (ROOT / "tests").iterdir() if list(path.rglob("test_*.py"))}
    assert named - {"test_*.py"} == here


def test_a_peer_that_is_not_installed_is_left_out():
    text = SCRIPT.read_text("utf8")
    has, installed = re.findall(r"^(?:has|installed)\(\) \{.*?^\}$", text, re.M | re.S)
    modules = "a:json b:no_such_package b:no_such_package.core b:json.no_such_module c:re"
    call = f"python={sys.executable}\n{has}\n{installed}\ninstalled {modules}"
    done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=True)
    assert done.stdout == "a,c\n"
