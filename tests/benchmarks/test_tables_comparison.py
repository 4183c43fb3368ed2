from dataclasses import replace

from nnlib_benchmarks.findings import findings
from nnlib_benchmarks.tables_comparison import comparison_tables, step_table


def tables(run):
    return {table.title.partition(":")[0].partition(" (")[0]: table for table in
            comparison_tables(run)[1:]}  # fmt: skip


def test_the_table_of_step_times(peers_run):
    table, *_ = comparison_tables(peers_run)

    assert table.title == "Step time in ms: compare"
    assert table.columns == [
        "", "precision", "numpy", "numpy-eager", "torch", "jax", "over torch",
        "over the fastest peer",
    ]  # fmt: skip
    tiny, wide, mean = table.rows
    assert tiny[:2] == ["mlp-tiny", "fp32"]
    assert [cell.split(" ±")[0] for cell in tiny[2:6]] == ["0.100", "0.300", "0.400", "0.0500"]
    assert tiny[2].endswith(" %")
    assert tiny[6:] == ["4.00×", "0.500× jax"]  # a lost case is shown like a won one
    assert wide[6:] == ["1.00×", "1.00× torch"]
    assert mean == ["geometric mean", "", "", "", "", "", "2.00×", "0.707×"]


def test_machine_and_absences_stand_below(peers_run):
    _, odd, *_ = comparison_tables(peers_run)

    assert odd.rows[0][5:] == ["–", "0.500×", "0.500× torch"]
    notes = " ".join(odd.notes)
    assert "half the interquartile range" in notes
    assert "Imaginary CPU 9000, 2 cores, 4 threads" in notes
    assert "other programs used 2.0 % of the processor" in notes
    assert "jax takes no part in cnn-odd: too slow to compile." in notes


def test_who_disagrees_has_no_time(make):
    run = make.peers_run(losses=[2 * x for x in make.curve])
    table = step_table(run, "compare", run.training[:2])
    assert table.rows[0][5:] == ["DISAGREES", "4.00×", "4.00× torch"]


def test_memory_and_share_of_the_machines_best_rate(peers_run):
    found = tables(peers_run)

    assert found["Peak memory of a training step"].rows[0][1] == "1.00 GiB (+896 MiB)"
    share = found["Share of this machine's best matmul rate"]
    assert "200 GFLOP/s, measured with torch" in share.title
    assert share.rows[1][1] == "250 %"  # 1e10 operations in 20 ms, of 2e11 a second


def test_on_a_gpu_every_row_names_its_precision_and_what_it_counts(gpu_peers_run):
    found = tables(gpu_peers_run)

    step = comparison_tables(gpu_peers_run)[1]
    assert step.rows[0][:2] == ["vgg16-b64@bf16", "bf16"]
    assert step.rows[0][2:6] == ["20.0 ±1 %", "–", "–", "30.0 ±1 %"]
    assert "the first in the row" not in " ".join(step.notes)
    assert "numpy takes no part in vgg16-b64@bf16: left to the GPU." in step.notes
    throughput = found["Throughput of a training step"]
    assert throughput.rows[1][:4] == ["vgg16-b64@bf16", "bf16", "images/s", "3200"]
    assert "Rate of a training step" in found


def test_cliffs_and_the_cost_of_a_layer(peers_run):
    table = tables(peers_run)["Scaling of a training step"]

    assert table.rows[0][:4] == ["largest cliff: mlp depth", "2.00× at 100", "–", "1.00× at 100"]
    assert table.rows[1][1:] == ["8.89 µs", "–", "10.0 µs", "–"]


def test_without_peers_there_is_at_most_the_scaling(cpu_run, peers_run):
    assert comparison_tables(cpu_run) == []
    alone = replace(peers_run, contestants=peers_run.contestants[:2])
    assert [t.title for t in comparison_tables(alone)] == ["Scaling of a training step"]
    alone.settings.workloads.remove("scaling")
    assert comparison_tables(alone) == []


def test_one_sentence_for_each_group(peers_run):
    first, second, *rest = (f.text for f in findings(peers_run) if "peer" in f.text)

    assert first.startswith("compare: the speed of numpy is 2.00× that of PyTorch eager and 0.707×")
    assert first.endswith("the fastest peer is ahead in mlp-tiny.")
    assert second.endswith("the fastest peer is ahead in cnn-odd.")
    assert rest == []
    assert not any("of jax" in f.text for f in findings(peers_run) if f.kind == "good")
