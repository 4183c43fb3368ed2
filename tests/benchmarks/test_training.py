import time
from dataclasses import replace

import numpy as np
import pytest

import nnlib
from nnlib_benchmarks import contestants, field, training
from nnlib_benchmarks.contestants import BackendContestant, initial_weights
from nnlib_benchmarks.fairness import compare_losses
from nnlib_benchmarks.memory import PeakMemory
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import describe_backend
from nnlib_benchmarks.training import run_training
from nnlib_benchmarks.workloads.base import Budget


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)


def run(workload, *names):
    who = [describe_backend(name) for name in names]
    return run_training(workload, who, {}, seed=3, progress=SilentProgress())


def test_two_backends_from_the_same_weights_on_the_same_batches_agree(tiny):
    result = run(tiny, "numpy", "strict")

    numpy, strict = result.results
    assert len(numpy.losses) == len(strict.losses) == 2 + 4 + 4
    np.testing.assert_allclose(numpy.losses, strict.losses, rtol=1e-6)
    assert result.agreements[0].agree
    assert result.speedups[0].contestant == "strict"
    assert result.speedups[0].compute == pytest.approx(numpy.compute.median / strict.compute.median)


def test_sabotaged_weights_are_found_out_and_no_speedup_is_written(tiny, monkeypatch):
    make = BackendContestant._make_model

    def sabotaged(self, weights):
        if self.name == "strict":
            weights = {name: w * np.float32(1.5) for name, w in weights.items()}
        return make(self, weights)

    monkeypatch.setattr(BackendContestant, "_make_model", sabotaged)

    result = run(tiny, "numpy", "strict")

    assert not result.agreements[0].agree
    assert result.speedups == []


def test_everything_promised_is_recorded(tiny):
    compiled, result = run(tiny, "numpy", "numpy-eager").results

    assert result.first_step_s == result.warmup_s[0]
    assert len(result.warmup_s) == 2
    assert len(result.compute.samples) == len(result.end_to_end.samples) == 4
    assert result.compute.device_samples is None  # host and device are one
    assert result.flops == pytest.approx(tiny.flops(8) / result.compute.median)
    assert result.memory_peak_bytes >= result.memory_before_bytes > 0
    assert result.breakdown.forward > 0
    assert compiled.breakdown is None  # a compiled step is one piece
    assert result.energy is None
    assert result.target.epochs == len(result.target.curve) == 2
    assert not result.target.reached


def test_the_step_is_compiled_unless_the_name_says_eager(tiny, monkeypatch):
    compiled = []
    compile_ = nnlib.compile
    monkeypatch.setattr(nnlib, "compile", lambda step: compiled.append(step) or compile_(step))
    _, weights, _ = initial_weights(tiny, 0)

    BackendContestant("numpy-eager", tiny, weights, 0)
    assert len(compiled) == 0
    contestant = BackendContestant("numpy", tiny, weights, 0)
    assert len(compiled) == 1
    contestant.to_target(epochs=1)  # a new optimizer needs a new recording
    assert len(compiled) == 2


def test_a_gpu_is_timed_by_its_own_clock_too(tiny, gpu_like):
    _, strict = run(tiny, "numpy", "strict").results

    for timing in (strict.compute, strict.end_to_end):
        ratios = np.array(timing.device_samples) / np.array(timing.samples)
        assert (ratios < 0.6).all()
    assert strict.memory_peak_bytes == 77


def test_the_memory_pool_is_emptied_once_and_not_before_every_turn(tiny, gpu_like, monkeypatch):
    emptied = []
    original = PeakMemory.forget
    monkeypatch.setattr(PeakMemory, "forget", lambda self: (emptied.append(self), original(self)))
    (result,) = run(tiny, "strict").results
    assert len(emptied) == 2  # when it is made, and before the first timed steps
    assert result.memory_peak_bytes == 77


def test_contestants_take_turns_and_run_equally_many_steps(tiny, monkeypatch):
    log = []
    for phase in ("compute", "end_to_end"):
        original = getattr(BackendContestant, phase)

        def logged(self, steps, chain, original=original, phase=phase):
            log.append((phase, self.name, steps))
            assert chain == 1
            original(self, steps, chain)

        monkeypatch.setattr(BackendContestant, phase, logged)

    run(tiny, "numpy", "strict")

    turns = [("numpy", 2), ("strict", 2)] * 2
    assert log == [(phase, name, n) for phase in ("compute", "end_to_end") for name, n in turns]


def test_the_batches_of_compute_only_steps_lie_on_the_device_before_the_clock_runs(tiny):
    from strict_backend.counts import counting

    _, weights, _ = initial_weights(tiny, 0)
    contestant = BackendContestant("strict", tiny, weights, 0)
    contestant.warm_up(1)

    with counting() as counted:
        contestant.compute(3)
    assert counted.transfers == 0
    with counting() as counted:
        contestant.end_to_end(3)
    assert counted.transfers >= 6  # images and labels of three batches
    contestant.close()


def test_end_to_end_batches_are_those_of_the_order_given_to_peers(tiny):
    order = tiny.train.order(8, seed=5, epochs=2)

    assert order.shape == (2, 5, 8)
    with nnlib.use_backend("numpy"):
        loader = tiny.train.loader(8, seed=5)
        for epoch in order:
            for rows, (x, y) in zip(epoch, loader, strict=True):
                np.testing.assert_array_equal(y.numpy(), tiny.train.labels[rows])
                expected = tiny.train.pixels[rows].astype(np.float32) / 16
                np.testing.assert_allclose(x.numpy(), expected)
    assert not (order[0] == order[1]).all()


def test_the_same_seed_gives_the_same_weights(tiny):
    _, first, _ = initial_weights(tiny, 7)
    _, again, _ = initial_weights(tiny, 7)
    _, other, _ = initial_weights(tiny, 8)

    name = next(iter(first))
    np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first[name], other[name])


def test_training_does_not_change_the_common_weights(tiny):
    model, weights, seconds = initial_weights(tiny, 0)
    before = {name: w.copy() for name, w in weights.items()}

    contestant = BackendContestant("numpy", tiny, weights, 0, (model, seconds))
    contestant.compute(3)

    for name, w in weights.items():
        np.testing.assert_array_equal(w, before[name])


def test_everybody_is_closed_even_after_an_error(tiny, monkeypatch):
    closed = []
    close = BackendContestant.close
    monkeypatch.setattr(
        BackendContestant, "close", lambda self: (closed.append(self.name), close(self))
    )

    def broken(self, steps, chain):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(BackendContestant, "end_to_end", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(tiny, "numpy", "strict")
    assert closed == ["numpy", "strict"]


def test_tf32_is_named():
    assert contestants.precision({"float32_precision": "TF32"}) == "tf32"
    assert contestants.precision({}) == "fp32"


def test_accuracy_is_counted_right(tiny, monkeypatch):
    _, weights, _ = initial_weights(tiny, 0)
    contestant = BackendContestant("numpy", tiny, weights, 0)
    monkeypatch.setattr(contestants, "EVALUATION_BATCH", 7)  # a short last batch

    with nnlib.no_grad():
        x = nnlib.tensor(tiny.test.prepare(tiny.test.pixels))
        expected = (contestant._model(x).numpy().argmax(1) == tiny.test.labels).mean()

    assert contestant._accuracy(tiny.test) == pytest.approx(expected)


def test_time_to_target_is_that_of_all_epochs_without_the_evaluation(tiny, monkeypatch):
    _, weights, _ = initial_weights(tiny, 0)
    contestant = BackendContestant("numpy", tiny, weights, 0)
    monkeypatch.setattr(contestant, "_epoch", lambda loader: time.sleep(0.01))
    monkeypatch.setattr(contestant, "_accuracy", lambda test: time.sleep(0.1) or 0.5)

    target = contestant.to_target(epochs=3)

    assert target.curve == [0.5] * 3
    assert 0.03 <= target.seconds < 0.3


def test_training_stops_at_the_target(tiny):
    reachable = replace(tiny, target=0.0)
    _, weights, _ = initial_weights(reachable, 0)

    target = BackendContestant("numpy", reachable, weights, 0).to_target(epochs=5)

    assert target.reached
    assert target.epochs == 1


def test_the_number_of_steps_on_record_is_the_number_that_was_run(tiny):
    five = Budget(seconds=0.0, least=5, most=5)
    odd = replace(tiny, plan=replace(tiny.plan, compute=five, end_to_end=five))  # blocks of 2

    result = run(odd, "numpy")

    assert result.compute_steps == len(result.results[0].compute.samples) == 6
    assert result.end_to_end_steps == len(result.results[0].end_to_end.samples) == 6


# On a GPU ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gpu_like")
def test_short_steps_on_a_gpu_share_a_reading_of_the_clock(tiny, monkeypatch):
    monkeypatch.setattr(training, "LEAST_READING", 1e9)  # as many steps as are allowed
    monkeypatch.setattr(training, "MOST_CHAINED", 3)
    steps = Budget(seconds=0.0, least=9, most=9)
    plan = replace(tiny.plan, compute=steps, end_to_end=steps, block=4, epochs=0)

    result = run(replace(tiny, plan=plan), "numpy", "strict")

    for one in result.results:
        assert one.compute.calls_per_sample == 3  # three turns of a block of three steps
        assert len(one.compute.samples) == 3
        assert one.end_to_end.calls_per_sample == 3  # a turn is one reading: loading overlaps
        assert len(one.end_to_end.samples) == 3
        assert len(one.losses) == 2 + 9 + 9
    assert result.agreements[0].agree


def test_on_the_cpu_every_step_has_its_reading(tiny, monkeypatch):
    monkeypatch.setattr(training, "LEAST_READING", 1e9)
    assert run(tiny, "numpy", "strict").results[0].compute.calls_per_sample == 1


def alone(tiny):
    steps = Budget(seconds=0.0, least=4, most=4)
    plan = replace(tiny.plan, compute=steps, end_to_end=steps, alone=True)
    return replace(tiny, plan=plan)


def test_who_trains_alone_is_gone_before_the_next_comes(tiny, monkeypatch):
    log = []
    for phase in ("compute", "close"):
        original = getattr(BackendContestant, phase)

        def logged(self, *args, original=original, phase=phase):
            log.append((phase, self.name))
            original(self, *args)

        monkeypatch.setattr(BackendContestant, phase, logged)

    result = run(alone(tiny), "numpy", "strict")

    mine = [name for _, name in log]
    assert mine == sorted(mine)  # numpy, then strict
    assert log[2] == ("close", "numpy")
    assert result.agreements[0].agree
    assert [len(r.losses) for r in result.results] == [2 + 4 + 4] * 2
    assert result.parameters == 6 * 8 + 8 + 8 * 3 + 3


def test_who_fails_alone_is_named(tiny, monkeypatch):
    compute = BackendContestant.compute

    def broken(self, steps, chain):
        if self.name == "strict":
            raise MemoryError("no room")
        compute(self, steps, chain)

    monkeypatch.setattr(BackendContestant, "compute", broken)

    result = run(alone(tiny), "numpy", "strict", "numpy-eager")

    assert [r.contestant for r in result.results] == ["numpy", "numpy-eager"]
    (absent,) = result.absent
    assert (absent.name, absent.reason) == ("strict", "failed")
    assert "MemoryError: no room (" in absent.detail


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_precision_is_that_of_the_step(tiny, precision):
    full = run(replace(tiny, train=tiny.train), "numpy").results[0]
    lower = replace(tiny, name=f"mlp@{precision}", precision=precision)

    result = run(lower, "numpy", "strict", "numpy-eager")

    assert (result.precision, result.dtype) == (precision, "float32")
    assert all(a.agree for a in result.agreements)
    assert [r.peak_share for r in result.results] == [None] * 3
    same = np.array_equal(result.results[0].losses, full.losses)
    assert same == (precision == "tf32")  # which a CPU does not have
    np.testing.assert_allclose(result.results[0].losses, full.losses, rtol=2e-2)


def test_a_worse_precision_has_more_room_and_not_too_much(make):
    """A first loss that is off by 2 % is no rounding, in any precision."""
    off = [1.02 * make.curve[0], *make.curve[1:]]
    for precision in ("fp32", "tf32", "bf16"):
        assert not compare_losses(("a", make.curve), ("b", off), precision).agree
    near = [1.0005 * x for x in make.curve]
    verdicts = [
        compare_losses(("a", make.curve), ("b", near), p).agree for p in ("fp32", "tf32", "bf16")
    ]
    assert verdicts == [False, True, True]
