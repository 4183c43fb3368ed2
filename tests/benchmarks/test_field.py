"""Who drops out, and that the others go on."""

import pytest

from nnlib_benchmarks import field
from nnlib_benchmarks.contestants import BackendContestant
from nnlib_benchmarks.errors import PeerError, UnsuitablePeerError
from nnlib_benchmarks.progress import PlainProgress, SilentProgress
from nnlib_benchmarks.runner import describe_backend
from nnlib_benchmarks.training import run_training


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)


def failing(where, error):
    """What makes a contestant that raises `error` when it comes to `where`."""

    class Failing(BackendContestant):
        def _fail(self, *_):
            raise error

    setattr(Failing, where, Failing._fail)
    return lambda workload, weights, seed: Failing("strict", workload, weights, seed)


def run(workload, makers, progress=None):
    who = [describe_backend(name) for name in ("numpy", "strict", "numpy-eager")]
    return run_training(workload, who, makers, 0, progress or SilentProgress())


@pytest.mark.parametrize(
    "where", ["__init__", "warm_up", "compute", "end_to_end", "losses", "to_target"]
)
def test_who_fails_is_named_and_the_others_go_on(tiny, where):
    said = []

    result = run(tiny, {"strict": failing(where, PeerError("no luck"))}, PlainProgress(said.append))

    assert [r.contestant for r in result.results] == ["numpy", "numpy-eager"]
    assert [a.contestant for a in result.agreements] == ["numpy-eager"]
    (absent,) = result.absent
    assert (absent.name, absent.reason, absent.detail) == ("strict", "failed", "no luck")
    assert "mlp continues without strict: no luck" in said


def test_who_cannot_express_the_workload_says_why(tiny):
    result = run(tiny, {"strict": failing("__init__", UnsuitablePeerError("no layers"))})

    (absent,) = result.absent
    assert (absent.name, absent.reason, absent.detail) == ("strict", "unsuitable", "no layers")


def test_without_the_reference_there_is_nothing_to_measure(tiny):
    with pytest.raises(PeerError, match="no luck"):
        run(tiny, {"numpy": failing("compute", PeerError("no luck"))})
