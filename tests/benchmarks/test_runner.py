import pytest

import nnlib
from nnlib.errors import BackendUnavailableError, OptionError, UnknownBackendError
from nnlib_benchmarks import runner
from nnlib_benchmarks.contestants import BackendContestant
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.reports import Reports
from nnlib_benchmarks.runner import Request, check, run
from nnlib_benchmarks.schema import from_json, load_run, to_json


@pytest.fixture
def no_gpu(monkeypatch):
    """CuPy cannot be used, for a reason of our own."""
    known = nnlib.backend_info

    def info(name=None):
        if name == "cupy":
            raise BackendUnavailableError("cupy", "no-driver", "No driver.", "install one")
        return known(name)

    monkeypatch.setattr(nnlib, "backend_info", info)


@pytest.mark.usefixtures("small_harness", "gpu_like")
def test_a_whole_run_with_a_second_backend():
    result = run(Request(workloads=["mlp", "vgg16", "ops"], backends=["numpy", "strict"]))

    assert result.failures == []
    assert [c.name for c in result.contestants] == ["numpy", "strict"]
    assert result.machine.gpus == ["Imaginary GPU 1"]
    assert all(t.speedups for t in result.training)
    assert {(c.operation, c.contestant) for c in result.crossovers} == {
        ("mlp width", "strict"), ("matmul", "strict"), ("relu", "strict"),
    }  # fmt: skip
    assert [p.kind for p in result.claim.projections] == ["cpu", "gpu"]
    assert all(c.peak.flops > 0 for c in result.contestants)
    assert from_json(to_json(result)) == result


@pytest.mark.usefixtures("small_harness", "no_gpu")
def test_without_a_gpu_auto_measures_the_cpu_and_tells_why():
    result = run(Request(workloads=["vgg16"]))

    assert [c.name for c in result.contestants] == ["numpy"]
    (missing,) = result.missing
    assert (missing.name, missing.reason, missing.remedy) == ("cupy", "no-driver", "install one")
    assert [p.contestant for p in result.claim.projections] == ["numpy"]
    assert result.failures == []


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_asked_for_by_name_must_be_there():
    with pytest.raises(BackendUnavailableError, match="No driver"):
        check(Request(backends=["numpy", "cupy"]))


@pytest.mark.usefixtures("small_harness")
def test_disagreements_are_failures(monkeypatch):
    make = BackendContestant._make_model

    def sabotaged(self, weights):
        factor = 1.5 if self.name == "strict" else 1.0
        return make(self, {name: w * factor for name, w in weights.items()})

    monkeypatch.setattr(BackendContestant, "_make_model", sabotaged)

    result = run(Request(workloads=["mlp"], backends=["numpy", "strict"]))

    assert len(result.failures) == 3  # two of them in the sweep
    assert result.failures[0].startswith("mlp: loss curves of numpy and strict disagree")


@pytest.mark.usefixtures("small_harness")
def test_the_projection_uses_the_epochs_asked_for():
    claim = run(Request(workloads=["vgg16"], backends=["numpy"], epochs=10)).claim

    (p,) = claim.projections
    assert claim.epochs == 10
    assert p.hours == pytest.approx(p.seconds_per_image * 1_280_000 * 10 / 3600)


def test_only_vgg16_makes_a_claim(small_harness):
    assert run(Request(workloads=["lenet"], backends=["numpy"])).claim is None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request(workloads=["vgg61"]), OptionError),
        (Request(workloads=[]), OptionError),
        (Request(peers=["tensorfl0w"]), OptionError),
        (Request(epochs=0), OptionError),
        (Request(backends=["nump"]), UnknownBackendError),
    ],
)
def test_nonsense_is_refused_before_anything_is_measured(request_, error, monkeypatch):
    monkeypatch.setattr(runner, "measure_peak", lambda *a: pytest.fail("measured"))
    with pytest.raises(error):
        run(request_)


@pytest.mark.usefixtures("small_harness")
def test_where_the_reference_fails_the_other_workloads_are_still_measured(monkeypatch):
    warm_up = BackendContestant.warm_up

    def broken(self, steps):
        if self._workload.name in ("lenet", "mlp width 4"):
            raise PeerError("no luck")
        return warm_up(self, steps)

    monkeypatch.setattr(BackendContestant, "warm_up", broken)

    result = run(Request(workloads=["lenet", "mlp"], backends=["numpy"]))

    assert [t.workload for t in result.training] == ["mlp"]
    assert [o.size for o in result.operations] == [8]
    assert result.failures == ["lenet: no luck", "mlp width 4: no luck"]


@pytest.mark.usefixtures("small_harness")
def test_eager_twins_take_part_in_training_only():
    result = run(Request(workloads=["mlp", "ops"], backends=["numpy"], eager=True))

    assert [c.name for c in result.contestants] == ["numpy", "numpy-eager"]
    assert result.contestants[0].peak == result.contestants[1].peak
    assert [c.details["compiled"] for c in result.contestants] == [True, False]
    assert [r.contestant for r in result.training[0].results] == ["numpy", "numpy-eager"]
    assert {name for o in result.operations for name in o.times} == {"numpy"}


@pytest.mark.usefixtures("small_harness", "gpu_like")
def test_beside_a_gpu_the_cpu_is_spared_what_is_too_large_for_it(monkeypatch):
    request = Request(workloads=["mlp", "mlp@bf16"], backends=["strict", "numpy"])

    full, low = run(request).training

    assert [r.contestant for r in full.results] == ["strict", "numpy"]
    assert [r.contestant for r in low.results] == ["strict"]
    assert [(m.name, m.reason, m.detail) for m in low.absent] == [
        ("numpy", "unsuitable", "left to the GPU")
    ]


@pytest.mark.usefixtures("small_harness")
def test_a_run_that_is_ended_leaves_what_it_has_measured(tmp_path):
    reports, kept = Reports(tmp_path), []

    def keep(so_far):
        kept.append(load_run(reports.write_json(so_far)))
        if len(kept) == 2:
            raise KeyboardInterrupt

    request = Request(workloads=["lenet", "lstm", "gpt"], backends=["numpy"])
    with pytest.raises(KeyboardInterrupt):
        run(request, keep=keep)

    assert [[t.workload for t in r.training] for r in kept] == [["lenet"], ["lenet", "lstm"]]
    (file,) = tmp_path.glob("*.json")
    assert load_run(file) == kept[-1]


@pytest.mark.usefixtures("small_harness")
def test_an_error_of_a_backend_costs_its_workload_only(monkeypatch):
    warm_up = BackendContestant.warm_up

    def broken(self, steps):
        if self._workload.name == "lenet":
            raise MemoryError("no room")
        return warm_up(self, steps)

    monkeypatch.setattr(BackendContestant, "warm_up", broken)

    result = run(Request(workloads=["lenet", "lstm"], backends=["numpy"]))

    assert [t.workload for t in result.training] == ["lstm"]
    (failure,) = result.failures
    assert failure.startswith("lenet: MemoryError: no room (")
