from dataclasses import replace

import pytest

from nnlib_benchmarks.compare import compare_runs, judge
from nnlib_benchmarks.errors import DifferentMachinesError
from nnlib_benchmarks.records import Timing
from nnlib_benchmarks.report_compare import comparison_json, comparison_text


def verdicts(comparison):
    return {change.verdict for change in comparison.changes}


def test_a_run_compared_with_itself_shows_nothing(gpu_run):
    comparison = compare_runs(gpu_run, gpu_run)

    assert verdicts(comparison) == {"same"}
    assert len(comparison.changes) == 8 + 8  # 2 workloads × 2 phases × 2, 4 operations × 2


def test_what_got_slower_is_found(make):
    before, after = make.run(gpu=False), make.run(gpu=False, step=0.6)

    comparison = compare_runs(before, after)

    slower = comparison.with_verdict("slower")
    assert len(slower) == 4  # both phases of both workloads; the operations stayed
    assert all(change.ratio == pytest.approx(1.2) and change.p < 0.01 for change in slower)
    assert len(comparison.with_verdict("same")) == 4
    assert verdicts(compare_runs(after, before)) == {"faster", "same"}


def test_noise_is_not_mistaken_for_a_change(make):
    old = make.timing(1.0, spread=0.3, seed=1)
    new = make.timing(1.08, spread=0.3, seed=2)

    assert verdicts(compare_one(make, old, new)) == {"unsure"}


def test_a_significant_but_tiny_change_does_not_count(make):
    old = make.timing(1.0, count=1000, spread=0.01, seed=1)
    new = make.timing(1.02, count=1000, spread=0.01, seed=2)

    comparison = compare_one(make, old, new)

    assert comparison.changes[0].p < 1e-6
    assert verdicts(comparison) == {"same"}
    assert verdicts(compare_one(make, old, new, min_effect=0.01)) == {"slower"}


def test_a_slow_spell_that_spared_some_samples_is_no_change_of_the_code():
    calm = [1.0 + 0.001 * i for i in range(20)]
    spell = [*calm[:6], *(1.8 * x for x in calm[6:])]  # most of the run was disturbed

    change = judge("step", "numpy", *map(Timing.from_samples, (calm, spell)), 0.01, 0.05)

    assert change.p < 0.01
    assert change.ratio > 1.7
    assert change.fast_ratio < 1.02
    assert change.verdict == "unsure"


def test_three_samples_cannot_prove_anything(make):
    old, new = make.timing(1.0, count=3), make.timing(2.0, count=3)
    assert verdicts(compare_one(make, old, new)) == {"unsure"}


def compare_one(make, old, new, **options):
    runs = []
    for timing in (old, new):
        point = replace(make.operation(8, {"numpy": 1.0}), times={"numpy": timing})
        runs.append(replace(make.run(gpu=False), training=[], operations=[point]))
    return compare_runs(*runs, **options)


def test_different_machines_are_refused(make, cpu_run):
    other = replace(cpu_run, machine=make.machine(cpu="Another CPU", cores=64))

    with pytest.raises(DifferentMachinesError, match=r"processor: .*Another CPU.*--force"):
        compare_runs(cpu_run, other)

    comparison = compare_runs(cpu_run, other, force=True)
    assert any("Another CPU" in text for text in comparison.machine_differences)


@pytest.mark.parametrize(
    "change", [{"cores": 4}, {"threads": 8}, {"gpus": ["A GPU"]}, {"memory_bytes": 2**33}]
)
def test_every_part_of_the_machine_counts(make, cpu_run, change):
    with pytest.raises(DifferentMachinesError):
        compare_runs(cpu_run, replace(cpu_run, machine=make.machine(**change)))


def test_another_software_is_told_not_refused(make, cpu_run):
    changed = make.machine(packages={"numpy": "2.5.0"}, git_commit="fedcba9", environment={})

    comparison = compare_runs(cpu_run, replace(cpu_run, machine=changed))

    assert set(comparison.software_differences) == {
        "numpy: 2.4.0 → 2.5.0",
        "commit: 0123abc → fedcba9",
        "OMP_NUM_THREADS: 4 → None",
    }


def test_measurements_of_one_run_only_are_listed(cpu_run, gpu_run):
    comparison = compare_runs(cpu_run, gpu_run, force=True)

    assert comparison.only_before == []
    assert len(comparison.only_after) == 8
    assert all("cupy" in name for name in comparison.only_after)


def test_a_run_disturbed_by_others_is_warned_about(cpu_run):
    disturbed = replace(cpu_run, cpu_used_by_others=0.4)

    comparison = compare_runs(cpu_run, disturbed)

    assert len(comparison.warnings) == 1
    words = "Other programs used 40% of the processor during the second run"
    assert comparison_text(comparison).startswith(words)
    assert compare_runs(cpu_run, cpu_run).warnings == []


def test_the_text_names_what_got_slower_first(make):
    text = comparison_text(compare_runs(make.run(gpu=False), make.run(gpu=False, step=0.6)))

    assert text.startswith("Slower")
    assert "1.20×" in text
    assert "8 measurements in both runs: 4 slower, 0 faster, 4 the same, 0 unsure." in text


def test_the_json_has_every_change(gpu_run):
    import json

    document = json.loads(comparison_json(compare_runs(gpu_run, gpu_run)))
    assert len(document["changes"]) == 16
