from dataclasses import replace

import numpy as np
import pytest

from nnlib.errors import MissingExtraError
from nnlib_benchmarks import training, workloads
from nnlib_benchmarks.contestants import initial_weights
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.peers import registry
from nnlib_benchmarks.peers.process import PeerProcess, PeerTrainee, describe_peer
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import Request, describe_backend, run
from nnlib_benchmarks.workloads.base import Budget, Plan


def test_a_peer_that_is_not_installed_is_named_with_the_pip_command(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'torch'.*pip install 'nnlib-xp\[peers\]'"):
        registry.check_peers(["torch"])


def test_a_peer_that_dies_is_a_typed_error(monkeypatch):
    monkeypatch.setitem(registry.MODULES, "json", "json.no_such_module")
    process = PeerProcess("json")
    try:
        with pytest.raises(PeerError, match=r"ended at .describe. with exit code 1"):
            process.ask("describe")
    finally:
        process.close()


@pytest.mark.peers
def test_pytorch_gets_the_same_losses_from_the_same_weights(small_harness, tiny):
    pytest.importorskip("torch")

    result = run(Request(workloads=["mlp"], backends=["numpy"], peers=["torch"]))

    assert result.failures == []
    ours, theirs = result.training[0].results
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
    assert theirs.target.curve == pytest.approx(ours.target.curve, abs=0.06)
    peer = result.contestants[1]
    assert (peer.name, peer.kind, peer.precision) == ("torch", "peer", "fp32")
    assert peer.details["mode"] == "eager, CPU, channels-last"
    assert set(result.operations[0].times) == {"numpy"}  # peers train, no more


@pytest.mark.peers
def test_lenet_with_convolutions_and_pooling_agrees_too(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(training, "SETTLE", 0.0)
    lenet, steps = workloads.TRAINING["lenet"](True, 0), Budget(seconds=0.0, least=10, most=10)
    workload = replace(lenet, plan=Plan(32, 2, steps, steps, block=5, breakdown=1, epochs=1))
    who = [describe_backend("numpy"), describe_peer("torch", [32])]
    peers = {"torch": lambda *arguments: PeerTrainee("torch", *arguments)}

    result = training.run_training(workload, who, peers, 0, SilentProgress())

    assert result.agreements[0].agree, result.agreements[0].message
    np.testing.assert_allclose(
        result.results[0].losses[:10], result.results[1].losses[:10], rtol=1e-4
    )


@pytest.mark.peers
def test_sabotaged_weights_are_found_out(tiny, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(training, "SETTLE", 0.0)
    who = [describe_backend("numpy"), describe_peer("torch", [32])]

    def sabotaged(workload, weights, seed):
        return PeerTrainee("torch", workload, {n: 2 * w for n, w in weights.items()}, seed)

    result = training.run_training(tiny, who, {"torch": sabotaged}, 0, SilentProgress())

    assert not result.agreements[0].agree
    assert result.speedups == []


@pytest.mark.peers
def test_an_error_in_the_peer_is_told(tiny):
    pytest.importorskip("torch")
    _, weights, _ = initial_weights(tiny, 0)
    weights["layers.linear1.weight"] = weights["layers.linear1.weight"][:, :5]  # too narrow
    trainee = PeerTrainee("torch", tiny, weights, 0)
    try:
        with pytest.raises(PeerError, match="torch failed at 'warm_up': RuntimeError"):
            trainee.warm_up(1)
    finally:
        trainee.close()
