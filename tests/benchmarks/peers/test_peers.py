import importlib.util
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from nnlib.errors import MissingExtraError
from nnlib_benchmarks import field, training, workloads
from nnlib_benchmarks.contestants import initial_weights
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.peers import process, registry
from nnlib_benchmarks.peers.process import PeerProcess, PeerTrainee, describe_peer
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import Request, describe_backend, run
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Samples, Workload

ALL = ["torch", "torch-compile", "jax", "sklearn"]


@pytest.fixture(autouse=True)
def _installed(request):
    """Skip what needs a library that is not there."""
    if request.node.get_closest_marker("peers"):
        for package in set(registry.PACKAGES.values()):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"needs {package}")


def test_a_peer_that_is_not_installed_is_named_with_the_pip_command(monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'torch'.*pip install .*\[peers\]'"):
        registry.check_peers(["torch-compile"])


def test_a_peer_that_dies_is_a_typed_error(monkeypatch):
    monkeypatch.setitem(registry.MODULES, "json", "json.no_such_module")
    process = PeerProcess("json")
    try:
        with pytest.raises(PeerError, match=r"ended at .describe. with exit code 1"):
            process.ask("describe")
    finally:
        process.close()


def test_nnlib_in_a_process_of_its_own_is_nnlib(tiny, monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    who = [describe_backend("numpy"), describe_backend("numpy-eager")]
    makers = {"numpy-eager": lambda *task: PeerTrainee("numpy-eager", *task)}

    result = training.run_training(tiny, who, makers, 0, SilentProgress())

    ours, other = result.results
    assert result.agreements[0].agree
    np.testing.assert_array_equal(ours.losses, other.losses)  # to the bit
    assert ours.target.curve == other.target.curve
    assert other.breakdown.forward > 0
    assert 0 < other.memory_before_bytes <= other.memory_peak_bytes


def test_a_process_can_be_used_again(tiny):
    process = PeerProcess("numpy")
    try:
        for seed in (0, 1):
            _, weights, _ = initial_weights(tiny, seed)
            trainee = PeerTrainee("numpy", tiny, weights, seed, process)
            trainee.warm_up(3)
            assert len(trainee.losses()) == 3
            trainee.close()
            assert trainee.losses() == []  # and it holds no task any longer
    finally:
        process.close()


def test_as_many_epochs_are_told_as_can_be_needed(tiny):
    # 40 examples in batches of 8: 5 steps an epoch; 4 steps with loading and a block of 2 more
    assert process._epochs(tiny) == 2
    longer = replace(tiny.plan, end_to_end=Budget(1.0, least=4, most=20))
    assert process._epochs(replace(tiny, plan=longer)) == 5


@pytest.mark.peers
def test_all_peers_get_the_same_losses_from_the_same_weights(small_harness, tiny):
    result = run(Request(workloads=["mlp"], backends=["numpy"], peers=ALL, eager=True))

    assert result.failures == []
    ours, *others = result.training[0].results
    assert [r.contestant for r in others] == ["numpy-eager", *ALL]
    for theirs in others:
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
        assert theirs.target.curve == pytest.approx(ours.target.curve, abs=0.06)
        assert 0 < theirs.memory_before_bytes <= theirs.memory_peak_bytes
    peer = result.contestants[2]
    assert (peer.name, peer.kind, peer.precision) == ("torch", "peer", "fp32")
    assert peer.details["mode"] == "eager, CPU, channels-last, fused optimizer"
    assert [c.kind for c in result.contestants[:2]] == ["cpu", "cpu"]


def odd_workload(optimizer):
    """Every kind of layer, odd sizes, and a pool that does not fit, in a few milliseconds."""
    described = [
        layers.conv(2, 9, 1),
        layers.conv(9, 3, 3, padding=1, stride=2),
        layers.activation("tanh"),
        layers.pool("avgpool"),
        layers.conv(3, 9, 1),
        layers.activation("sigmoid"),
        layers.conv(9, 5, 2, stride=1),
        layers.activation("relu"),
        layers.pool("maxpool"),
        layers.FLATTEN,
        *layers.mlp((5 * 1 * 2, 7, 3), "relu"),
    ]
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (20, 14, 21, 2), dtype=np.uint8)
    steps = Budget(seconds=0.0, least=6, most=6)
    return Workload(
        "odd", "odd", "noise", "odd", described, lambda: layers.build(described),
        Samples(pixels, random.integers(0, 3, 20), 1 / 73.9, -127.5 / 73.9), None, 0.0,
        optimizer, Plan(5, 4, steps, steps, block=3, breakdown=1, epochs=0),
    )  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize(
    "optimizer",
    [
        Optimizer("sgd", 0.1, momentum=0.9),
        Optimizer("sgd", 0.1),
        Optimizer("adamw", 0.01, weight_decay=0.1),
    ],
    ids=lambda o: f"{o.kind}-{o.momentum}",
)
def test_every_layer_and_optimizer_is_the_same_everywhere(monkeypatch, optimizer):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    who = [describe_backend("numpy"), *(describe_peer(n, [32]) for n in ("torch", "jax"))]
    makers = {c.name: lambda *task, n=c.name: PeerTrainee(n, *task) for c in who[1:]}

    result = training.run_training(odd_workload(optimizer), who, makers, 0, SilentProgress())

    ours, *others = result.results
    assert len(others) == 2
    for theirs in others:
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)


def sequence_workload(kind):
    """A small LSTM or GPT of odd sizes."""
    random = np.random.default_rng(0)
    if kind == "lstm":
        described = [layers.lstm(5, 7), layers.linear(7, 3)]
        pixels, labels, scale = random.integers(0, 256, (20, 9, 5)), (20,), 1 / 256
    else:
        described = [layers.gpt(vocabulary=3, context=6, blocks=2, heads=3, width=15)]
        pixels, labels, scale = random.integers(0, 3, (20, 6)), (20, 6), None
    train = Samples(pixels.astype(np.uint8), random.integers(0, 3, labels), scale)
    steps = Budget(seconds=0.0, least=6, most=6)
    return Workload(
        kind, kind, "noise", kind, described, lambda: layers.build(described), train, None, 0.0,
        Optimizer("adamw", 0.02, weight_decay=0.1),
        Plan(5, 4, steps, steps, block=3, breakdown=1, epochs=0),
    )  # fmt: skip


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["lstm", "gpt"])
def test_sequence_models_are_the_same_everywhere(monkeypatch, kind):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    names = ("torch", "torch-compile", "jax")
    who = [describe_backend("numpy"), *(describe_peer(n, [32]) for n in names)]
    makers = {c.name: lambda *task, n=c.name: PeerTrainee(n, *task) for c in who[1:]}

    result = training.run_training(sequence_workload(kind), who, makers, 0, SilentProgress())

    ours, *others = result.results
    assert len(others) == 3
    assert abs(ours.losses[0] - ours.losses[-1]) > 0.02
    for theirs in others:
        np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["odd", "lstm", "gpt"])
def test_in_bf16_the_losses_agree_and_are_not_those_of_float32(monkeypatch, kind):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    adamw = Optimizer("adamw", 0.01, weight_decay=0.1)
    full = odd_workload(adamw) if kind == "odd" else sequence_workload(kind)
    low = replace(full, precision="bf16")
    who = [describe_backend("numpy"), *(describe_peer(n, [32]) for n in ("torch", "jax"))]
    makers = {c.name: lambda *task, n=c.name: PeerTrainee(n, *task) for c in who[1:]}

    result = training.run_training(low, who, makers, 0, SilentProgress())

    exact = training.run_training(full, who[:1], {}, 0, SilentProgress())
    if any("could not create a primitive" in missing.detail for missing in result.absent):
        pytest.skip("PyTorch has no such layer in bf16 for this processor")
    assert result.absent == []
    assert [a.message for a in result.agreements if not a.agree] == []
    for theirs in result.results:
        assert np.abs(np.subtract(theirs.losses, exact.results[0].losses)).max() > 1e-5


@pytest.mark.peers
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lenet", "fully connected layers only"),
        ("lstm", "fully connected layers only"),
        ("gpt", "fully connected layers only"),
        ("mlp-tiny", "not a softmax of two"),
        ("mlp-adamw", "has no adamw"),
    ],
)
def test_what_scikit_learn_cannot_express_it_says(name, reason):
    workload = workloads.TRAINING[name](True, 0)

    result = training.run_training(
        replace(workload, plan=odd_workload(workload.optimizer).plan),
        [describe_backend("numpy"), describe_peer("sklearn", [32])],
        {"sklearn": lambda *task: PeerTrainee("sklearn", *task)},
        0,
        SilentProgress(),
    )

    (absent,) = result.absent
    assert (absent.name, absent.reason) == ("sklearn", "unsuitable")
    assert reason in absent.detail


@pytest.mark.peers
def test_without_a_compiler_torch_compile_says_so_and_the_others_go_on(
    small_harness, monkeypatch, tmp_path
):
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")

    result = run(Request(workloads=["mlp"], backends=["numpy"], peers=["torch-compile"]))

    (missing,) = [m for m in result.missing if m.name == "torch-compile"]
    assert "InvalidCxxCompiler" in missing.detail or "compiler" in missing.detail.lower()
    assert result.failures == [f"torch-compile: {missing.detail}"]
    assert [r.contestant for r in result.training[0].results] == ["numpy"]


@pytest.mark.peers
@pytest.mark.parametrize("name", ["numpy", *ALL])
def test_a_process_is_idle_when_the_others_turn_comes(name):
    workload = workloads.TRAINING["mlp-512"](True, 0)
    _, weights, _ = initial_weights(workload, 0)
    trainee = PeerTrainee(name, workload, weights, 0)
    try:
        trainee.warm_up(4)
        child = psutil.Process(trainee._process._child.pid)
        busy = []
        for _ in range(3):
            trainee.compute(5)
            time.sleep(field.SETTLE)
            before = child.cpu_times()
            time.sleep(0.3)
            after = child.cpu_times()
            busy.append(after.user + after.system - before.user - before.system)
        assert min(busy) <= 0.02  # seconds, in steps of 0.01
    finally:
        trainee.close()


@pytest.mark.peers
def test_sabotaged_weights_are_found_out(tiny, monkeypatch):
    monkeypatch.setattr(field, "SETTLE", 0.0)
    who = [describe_backend("numpy"), describe_peer("torch", [32])]

    def sabotaged(workload, weights, seed):
        return PeerTrainee("torch", workload, {n: 2 * w for n, w in weights.items()}, seed)

    result = training.run_training(tiny, who, {"torch": sabotaged}, 0, SilentProgress())

    assert not result.agreements[0].agree
    assert result.speedups == []


@pytest.mark.peers
def test_an_error_in_the_peer_is_told(tiny):
    _, weights, _ = initial_weights(tiny, 0)
    weights["layers.linear1.weight"] = weights["layers.linear1.weight"][:, :5]  # too narrow
    trainee = PeerTrainee("torch", tiny, weights, 0)
    try:
        with pytest.raises(PeerError, match="torch failed at 'warm_up': RuntimeError"):
            trainee.warm_up(1)
    finally:
        trainee.close()
