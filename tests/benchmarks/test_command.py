"""The verb: exit codes, what goes to stdout and stderr, which files appear."""

import gzip
import json

import pytest
from click.testing import CliRunner

import nnlib
from nnlib.cli import main
from nnlib.errors import BackendUnavailableError
from nnlib_benchmarks import runner
from nnlib_benchmarks.contestants import BackendContestant
from nnlib_benchmarks.schema import load_run, to_json
from nnlib_benchmarks.workloads import GROUPS


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(main, ["bench", *map(str, arguments)], catch_exceptions=False)

    return call


@pytest.fixture
def no_gpu(monkeypatch):
    known = nnlib.backend_info

    def info(name=None):
        if name == "cupy":
            raise BackendUnavailableError("cupy", "no-driver", "No driver.", "install one")
        return known(name)

    monkeypatch.setattr(nnlib, "backend_info", info)


def test_it_has_help_and_json(bench):
    result = bench("--help")
    assert result.exit_code == 0
    assert "--json" in result.output


@pytest.mark.usefixtures("small_harness", "no_gpu")
def test_without_a_gpu_the_cpu_half_and_the_remedy_exit_0(bench, tmp_path):
    result = bench("--workloads", "mlp,vgg16", "--quick")

    assert result.exit_code == 0
    assert "No usable GPU on this machine: not measured. No driver." in result.stdout
    assert "install one" in result.stdout
    assert "55.0 days" in result.stdout
    assert "mlp: steps" in result.stderr
    assert "mlp: steps" not in result.stdout
    files = sorted(p.suffix for p in (tmp_path / "nnlib-bench").iterdir())
    assert files in ([".html", ".json", ".png"], [".html", ".json"])  # without matplotlib


@pytest.mark.usefixtures("small_harness", "no_gpu")
def test_a_gpu_asked_for_by_name_exit_4(bench, tmp_path):
    result = bench("--backends", "numpy,cupy", "--workloads", "mlp")

    assert result.exit_code == 4
    assert "backend 'cupy' cannot be used: No driver. To fix it: install one" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_harness")
def test_two_backends_that_agree_exit_0(bench):
    result = bench("--backends", "numpy,strict", "--workloads", "mlp,ops", "--out", "o")

    assert result.exit_code == 0, result.output
    assert "mlp: speed-up" in result.stdout
    assert "Crossover" in result.stdout


@pytest.mark.usefixtures("small_harness")
def test_a_list_of_workloads_compiled_and_eager(bench, tmp_path):
    result = bench("--backends", "numpy", "--eager", "--workloads", "compare", "--out", "o")

    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "o").glob("*.json")
    run = load_run(path)
    assert [t.workload for t in run.training] == list(GROUPS["compare"])
    assert {r.contestant for t in run.training for r in t.results} == {"numpy", "numpy-eager"}


@pytest.mark.usefixtures("small_harness")
def test_a_disagreement_exit_3(bench, monkeypatch):
    losses = BackendContestant.losses

    def wrong(self):
        return [2 * x if self.name == "strict" else x for x in losses(self)]

    monkeypatch.setattr(BackendContestant, "losses", wrong)

    result = bench("--backends", "numpy,strict", "--workloads", "mlp", "--out", "o")

    assert result.exit_code == 3
    assert "FAILED: mlp: loss curves of numpy and strict disagree" in " ".join(
        result.stdout.split()
    )
    assert "mlp: speed-up" not in result.stdout


@pytest.mark.usefixtures("small_harness")
def test_json_goes_to_stdout_and_is_the_file(bench, tmp_path):
    result = bench("--json", "--backends", "numpy", "--workloads", "mlp", "--out", "o")

    assert result.exit_code == 0
    (path,) = (tmp_path / "o").glob("*.json")
    assert json.loads(result.stdout) == json.loads(path.read_text(encoding="utf8"))
    assert load_run(path).settings.backends == ["numpy"]


def test_a_folder_that_cannot_be_written_is_an_error_before_measuring(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "run", lambda *a: pytest.fail("measured"))
    (tmp_path / "taken").write_text("")

    result = bench("--backends", "numpy", "--out", "taken/inside")

    assert result.exit_code == 1
    assert "the output folder must be writable" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--workloads", "vgg61"], 1, "a workload must be one of"),
        (["--peers", "tensorfl0w"], 1, "a peer must be one of"),
        (["--backends", "nump"], 1, "Did you mean 'numpy'?"),
        (["--backends", "auto,numpy"], 1, "--backends must be 'auto' or names"),
        (["--epochs", "0"], 2, "0 is not in the range"),
    ],
)
def test_nonsense(bench, arguments, code, words):
    result = bench(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


# nnlib bench compare -----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, make):
    runs = {
        "before": make.run(gpu=False),
        "slower": make.run(gpu=False, step=0.6),
        "elsewhere": make.run(gpu=True),
    }
    for name, run in runs.items():
        (tmp_path / f"{name}.json").write_text(to_json(run), encoding="utf8")
    return {name: tmp_path / f"{name}.json" for name in runs}


def test_compare_slower_exit_3(bench, files):
    result = bench("compare", files["before"], files["slower"])
    assert result.exit_code == 3
    assert "4 slower" in result.stdout


def test_compare_same_and_faster_exit_0(bench, files):
    assert bench("compare", files["before"], files["before"]).exit_code == 0
    assert bench("compare", files["slower"], files["before"]).exit_code == 0
    assert bench("compare", files["before"], files["slower"], "--min-effect", 0.5).exit_code == 0


def test_compare_different_machines_needs_force(bench, files):
    refused = bench("compare", files["before"], files["elsewhere"])
    assert refused.exit_code == 1
    assert "the two runs must come from one machine" in refused.stderr

    forced = bench("compare", files["before"], files["elsewhere"], "--force")
    assert forced.exit_code == 0
    assert "Different machines: GPUs" in forced.stdout


def test_compare_json(bench, files):
    result = bench("compare", "--json", files["before"], files["slower"])
    verdicts = {c["verdict"] for c in json.loads(result.stdout)["changes"]}
    assert verdicts == {"slower", "same"}


def test_compare_something_else(bench, files, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    result = bench("compare", files["before"], tmp_path / "other.json")
    assert result.exit_code == 1
    assert "schema must be 'nnlib-bench'" in result.stderr


@pytest.mark.parametrize("made", ["gpu_run", "gpu_peers_run"])
def test_page_and_picture_are_drawn_again_from_a_file(bench, tmp_path, request, made):
    """A run file of a card that is not here: only then is the picture of a README possible."""
    pytest.importorskip("matplotlib")
    file = tmp_path / "2026-01-02-a-card.json"
    file.write_text(to_json(request.getfixturevalue(made)), encoding="utf8")

    result = bench("report", file, "--out", tmp_path / "drawn")

    assert result.exit_code == 0
    assert "Imaginary GPU 1" in result.stdout
    names = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert names == {"2026-01-02-a-card.html", "2026-01-02-a-card.png"}
    assert bench("report", file).exit_code == 0
    assert file.with_suffix(".png").exists()

    packed = tmp_path / "packed" / "2026-01-02-v1.5.json.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert bench("report", packed).exit_code == 0
    assert {path.name for path in packed.parent.iterdir()} == {
        packed.name, "2026-01-02-v1.5.html", "2026-01-02-v1.5.png",
    }  # fmt: skip


def test_a_report_of_no_run_exit_1(bench, tmp_path):
    result = bench("report", tmp_path / "none.json")
    assert result.exit_code == 1
    assert "none.json must be an existing file" in result.stderr


@pytest.mark.usefixtures("small_harness")
def test_each_precision_is_a_workload_of_its_own(bench):
    result = bench(
        "--backends", "numpy", "--workloads", "lstm,gpt@bf16", "--precision", "fp32,tf32", "--json"
    )

    assert result.exit_code == 0
    run = json.loads(result.stdout)
    measured = [(t["workload"], t["precision"]) for t in run["training"]]
    assert measured == [("lstm", "fp32"), ("lstm@tf32", "tf32"), ("gpt@bf16", "bf16")]
    assert run["settings"]["precisions"] == ["fp32", "tf32"]
