import gzip
import json
from pathlib import Path

import pytest

from nnlib.errors import FileFormatError
from nnlib_benchmarks import schema
from nnlib_benchmarks.errors import SchemaError
from nnlib_benchmarks.report_text import render_text
from nnlib_benchmarks.schema import from_json, load_run, to_json


@pytest.mark.parametrize("gpu", [False, True])
def test_a_run_comes_back_as_it_was(make, gpu):
    run = make.run(gpu=gpu)
    assert from_json(to_json(run)) == run


def test_json_has_the_raw_samples_and_losses(gpu_run):
    document = json.loads(to_json(gpu_run))

    result = document["training"][0]["results"][1]
    assert (document["schema"], document["version"]) == ("nnlib-bench", 2)
    assert len(result["compute"]["samples"]) == len(result["compute"]["device_samples"]) == 9
    assert len(result["losses"]) == 20
    assert result["energy"]["joules_per_step"] == 2.5
    assert document["contestants"][1]["precision"] == "tf32"


def test_numbers_that_are_not_finite_become_null_and_come_back_as_nan(make):
    run = make.run(gpu=True, losses=[float("nan")] * 20)

    text = to_json(run)

    assert "NaN" not in text
    losses = from_json(text).training[0].results[1].losses
    assert all(loss != loss for loss in losses)


def broken(run, change):
    document = json.loads(to_json(run))
    change(document)
    return json.dumps(document)


def drop_losses(d):
    del d["training"][0]["results"][0]["losses"]


def spell_it_wrong(d):
    d["machine"]["cpus"] = d["machine"].pop("cpu")


def number_as_text(d):
    d["training"][0]["results"][0]["compute"]["samples"][2] = "0.5"


def truth_as_number(d):
    d["training"][0]["batch"] = True


def another_version(d):
    d["version"] = 3


def another_kind(d):
    d["schema"] = "pytest-benchmark"


def list_for_object(d):
    d["machine"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop_losses, r"training\[0\]\.results\[0\]\.losses is missing"),
        (spell_it_wrong, "machine has unknown fields.*cpus"),
        (number_as_text, r"samples\[2\] must be float. Received: \"0.5\""),
        (truth_as_number, r"training\[0\]\.batch must be int. Received: true"),
        (another_version, "version must be 1 or 2. Received: 3"),
        (another_kind, "schema must be 'nnlib-bench'. Received: 'pytest-benchmark'"),
        (list_for_object, "machine must be an object"),
    ],
)
def test_what_is_wrong_is_named(cpu_run, change, words):
    with pytest.raises(SchemaError, match=words):
        from_json(broken(cpu_run, change), "file.json")


def test_runs_of_version_1_can_still_be_read():
    results = Path(__file__).parents[2] / "benchmarks" / "results"
    runs = [load_run(path) for path in sorted(results.glob("*.json.gz"))]

    assert {run.version for run in runs} >= {1}
    for run in runs:
        assert from_json(to_json(run)) == run
        assert render_text(run)


def test_a_packed_run_is_read_as_it_is(tmp_path, cpu_run):
    path = tmp_path / "run.json.gz"
    path.write_bytes(gzip.compress(to_json(cpu_run).encode()))

    assert load_run(path) == cpu_run
    for wrong in (path.read_bytes()[:-9], gzip.compress(b"\xff\xfe")):
        path.write_bytes(wrong)
        with pytest.raises(SchemaError, match=r"run\.json\.gz must be a readable text file"):
            load_run(path)


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_file_without_end_is_refused(tmp_path, cpu_run, monkeypatch, pack):
    text = to_json(cpu_run).encode()
    path = tmp_path / "run.json"
    path.write_bytes(pack(text))

    monkeypatch.setattr(schema, "_MOST", len(text))
    assert load_run(path) == cpu_run
    monkeypatch.setattr(schema, "_MOST", len(text) - 1)
    with pytest.raises(SchemaError, match="must hold at most"):
        load_run(path)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "7"])
def test_other_text_is_refused(text):
    with pytest.raises(SchemaError):
        from_json(text)


def test_a_file_that_is_not_there_or_not_text_is_a_typed_error(tmp_path):
    with pytest.raises(SchemaError, match=r"nothing\.json"):
        load_run(tmp_path / "nothing.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError):
        load_run(tmp_path / "binary.json")


def test_what_a_backend_put_into_its_details_is_made_writable(gpu_run):
    gpu_run.contestants[1].details["dtype"] = {
        "set",
    }

    assert json.loads(to_json(gpu_run))["contestants"][1]["details"]["dtype"] == "{'set'}"
