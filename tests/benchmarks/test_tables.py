from dataclasses import replace

import pytest

from nnlib_benchmarks import tables
from nnlib_benchmarks.findings import findings
from nnlib_benchmarks.tables_operations import crossover_table, operations_table


def cell(table, row, column):
    line = next(r for r in table.rows if r[0].strip() == row)
    return line[table.columns.index(column)]


def test_the_cpus_share_of_its_own_peak_stands_beside_the_speedup(gpu_run):
    table = tables.training_table(gpu_run.training[1])

    assert cell(table, "speed-up", "cupy") == "25.0×"
    assert cell(table, "of its own matmul peak", "numpy") == "2.0 %"
    sentence = next(f.text for f in findings(gpu_run) if f.text.startswith("vgg16"))
    assert "speed-up 25.0×" in sentence
    assert "ran at 2.0 % of its own measured matmul peak" in sentence


def test_a_speedup_names_hardware_threads_and_precision(make, gpu_run):
    sentence = next(f.text for f in findings(gpu_run) if f.kind == "good")
    assert f"cupy ({make.gpu}, tf32) over numpy ({make.cpu}, 4 BLAS threads, fp32)" in sentence


def test_warm_up_both_clocks_and_both_ways_of_timing_are_shown(gpu_run):
    table = tables.training_table(gpu_run.training[1])

    assert cell(table, "first step", "cupy") == "200 ms"
    assert cell(table, "step, batch on the device", "cupy") == "20.0 ms"
    assert cell(table, "by the device's clock", "cupy") == "18.0 ms"
    assert cell(table, "step, end to end", "cupy") == "24.0 ms"
    assert cell(table, "energy, a step", "cupy") == "2.50 J (125 W)"
    assert cell(table, "energy, a step", "numpy") == "–"


def test_time_to_accuracy(gpu_run):
    table = tables.training_table(gpu_run.training[0])
    assert cell(table, "to test accuracy", "numpy") == "97 % after 1.50 s, 2 epochs"


def test_a_target_that_was_missed_says_so(gpu_run):
    training = gpu_run.training[0]
    missed = replace(training.results[0].target, reached=False, curve=[0.5, 0.75])
    results = [replace(training.results[0], target=missed)]

    table = tables.training_table(replace(training, results=results))

    assert cell(table, "to test accuracy", "numpy") == "97 % not reached in 2 epochs (best 75 %)"


def test_a_disagreement_takes_the_place_of_the_speedup(failed_run):
    table = tables.training_table(failed_run.training[1])

    assert cell(table, "speed-up", "cupy") == "DISAGREES"
    assert table.notes[-1].startswith("FAILED: loss curves of numpy and cupy disagree")
    found = findings(failed_run)
    assert [f.kind for f in found[:2]] == ["bad", "bad"]
    assert not any("speed-up" in f.text for f in found)


def test_the_claim_stands_beside_the_projection(gpu_run):
    table = tables.claim_table(gpu_run, gpu_run.claim)

    assert table.rows[0][1:] == ["2× Xeon E5-2699 v4", "19.9", "55.0 days", "1×"]
    assert table.rows[1][1:] == ["DGX-1 (8 GPUs)", "1144", "23.0 h", "57× (“30–60×”)"]
    assert table.rows[2][3:] == ["164 days", "1×"]  # 0.6 s for 4 images
    assert table.rows[3][3:] == ["6.58 days", "25.0×"]


def test_without_a_gpu_the_claim_says_that_nothing_was_measured(cpu_run):
    table = tables.claim_table(cpu_run, cpu_run.claim)
    assert table.rows[-1][1] == "No usable GPU on this machine: not measured"


def test_no_projected_speedup_where_losses_disagree(failed_run):
    assert tables.claim_table(failed_run, failed_run.claim).rows[3][4] == "–"


def test_without_a_gpu_the_reason_and_the_remedy_are_told(cpu_run):
    text = findings(cpu_run)[-1].text
    assert text.startswith("No usable GPU on this machine: not measured. CuPy is not installed.")
    assert text.endswith("pip install 'nnlib-xp[cuda12]'")


def test_crossover(gpu_run, cpu_run):
    table = crossover_table(gpu_run)

    assert table.rows == [["matmul", "cupy", "from 512 (near 141.4)", "–", "–", "n"]]
    assert crossover_table(cpu_run) is None


@pytest.mark.parametrize(
    ("verdict", "size", "words"), [("never", None, "never"), ("always", 32, "always (≤ 32)")]
)
def test_crossover_at_the_ends(gpu_run, verdict, size, words):
    changed = replace(gpu_run.crossovers[0], verdict=verdict, size=size, estimate=None)
    assert crossover_table(replace(gpu_run, crossovers=[changed])).rows[0][2] == words


def test_operations_show_the_largest_size_and_maybe_the_smallest(make, gpu_run):
    assert [row[1] for row in operations_table(gpu_run).rows] == ["2048×2048"]
    table = operations_table(gpu_run, smallest=True)
    assert [row[1] for row in table.rows] == ["32×32", "2048×2048"]

    both = [
        make.operation(8, {"numpy": t}, direction=d)
        for d, t in (("forward", 1e-6), ("forward+backward", 3e-6))
    ]
    (row,) = operations_table(replace(gpu_run, operations=both)).rows
    assert row[2] == "1.00 µs (1.02 GFLOP/s) / 3.00 µs (0.341 GFLOP/s)"


def test_precision_blas_threads_and_cores_are_part_of_it(cpu_run):
    machine = " ".join(" ".join(row) for row in tables.machine_table(cpu_run).rows)
    assert "2 cores, 4 usable threads" in machine
    assert "openblas 0.3.31, 4 threads" in machine
    assert tables.contestants_table(cpu_run).rows[0][4] == "fp32"


def test_a_busy_machine_and_scattered_steps_are_owned_up_to(make, cpu_run):
    busy = replace(cpu_run, cpu_used_by_others=0.6)
    assert any("Other programs used 60 %" in f.text for f in findings(busy))
    assert not any("Other programs" in f.text for f in findings(cpu_run))

    result = replace(cpu_run.training[0].results[0], compute=make.timing(1.0, spread=0.9))
    training = replace(cpu_run.training[0], results=[result])
    texts = [f.text for f in findings(replace(cpu_run, training=[training]))]
    assert any("mlp on numpy" in text and "scatter" in text for text in texts)
