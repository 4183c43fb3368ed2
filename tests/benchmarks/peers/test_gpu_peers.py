"""Peers on a GPU: what their processes do there, shown with doubles for the card."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nnlib_benchmarks.contestants import initial_weights
from nnlib_benchmarks.errors import PeerError
from nnlib_benchmarks.peers.process import Lasting, describe_peer, write_task
from nnlib_benchmarks.peers.registry import MODULES, PACKAGES
from nnlib_benchmarks.peers.server import Server, on_gpu

CUDA = [name for name in PACKAGES if on_gpu(name)]
CARD = SimpleNamespace(name="Imaginary GPU 1", multi_processor_count=132, total_memory=2**36)


def test_every_peer_on_a_gpu_has_a_module():
    assert CUDA == ["torch-cuda", "torch-compile-cuda", "jax-cuda"]
    assert set(CUDA) <= set(MODULES)


@pytest.fixture
def torch(monkeypatch):
    """PyTorch and a card that is none; ``torch.log`` is what was asked of it."""
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    log = []
    answers = {
        "synchronize": None, "empty_cache": None, "reset_peak_memory_stats": None,
        "memory_reserved": 10, "max_memory_reserved": 77, "get_device_properties": CARD,
    }  # fmt: skip
    for name, answer in answers.items():
        double = lambda *_, name=name, answer=answer: (log.append(name), answer)[1]  # noqa: E731
        monkeypatch.setattr(torch.cuda, name, double)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield SimpleNamespace(library=torch, log=log)
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]
    torch.backends.cudnn.benchmark = False


def load(peer, workload, folder):
    """A server that has got its task, and the losses of nnlib on the CPU."""
    _, weights, _ = initial_weights(workload, 0)
    write_task(folder, workload, weights, 0)
    server = Server(peer)
    server.load(str(folder))
    return server


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, while it compiles
@pytest.mark.parametrize("name", ["torch-cuda", "torch-compile-cuda"])
def test_a_clock_is_read_when_the_gpu_is_done(torch, tiny, tmp_path, name):
    from nnlib_benchmarks.peers.torch_process import Torch

    server = load(Torch(name, "cpu"), tiny, tmp_path)
    server.warm_up(4)
    torch.log.clear()

    answer = server.compute(6, chain=3)

    assert len(answer["seconds"]) == 2
    assert torch.log == [
        "empty_cache", "reset_peak_memory_stats",  # what only the warm-up needed
        "synchronize", "synchronize", "synchronize",  # before, and after three steps each
        "max_memory_reserved",
    ]  # fmt: skip
    assert answer["memory_bytes"] == 77
    torch.log.clear()
    server.compute(3, chain=3)
    assert "empty_cache" not in torch.log  # a turn must not pay for another one's memory
    losses = server.losses()["losses"]
    assert len(set(losses)) == len(losses) == 4 + 6 + 3  # none was overwritten by a later replay
    assert len(server.breakdown(1)["parts"]) == 3
    assert server.unload() == {}
    assert torch.log[-1] == "empty_cache"


@pytest.mark.peers
def test_pytorch_has_its_best_settings_and_no_tf32_unasked(torch, tiny, tmp_path):
    from nnlib_benchmarks.peers.torch_process import Torch

    library, peer = torch.library, Torch("torch-cuda", "cpu")
    described = Server(peer).describe()
    assert (described["device"], described["cores"]) == ("Imaginary GPU 1, PyTorch eager", 132)
    assert described["memory_bytes"] == 2**36
    assert library.backends.cudnn.benchmark
    seen = {}
    for precision in ("fp32", "tf32", "bf16"):
        load(peer, replace(tiny, precision=precision), tmp_path)
        loss = peer._forward(*peer.batch(np.ones((8, 6), np.float32), np.zeros(8, np.int64)))
        scores = peer._model(library.ones(1, 6))
        seen[precision] = (
            library.get_float32_matmul_precision(), library.backends.cudnn.allow_tf32,
            loss.dtype, scores.dtype,
        )  # fmt: skip
    wide = library.float32
    assert seen == {
        "fp32": ("highest", False, wide, wide),
        "tf32": ("high", True, wide, wide),
        "bf16": ("highest", False, wide, wide),  # the loss and the parameters stay float32
    }


@pytest.mark.peers
def test_jax_states_the_precision_of_its_products(tiny, tmp_path):
    jax = pytest.importorskip("jax")
    from nnlib_benchmarks.peers.jax_process import Jax

    peer = Jax("jax-cuda")
    seen = {}
    try:
        for precision in ("fp32", "tf32", "bf16"):
            server = load(peer, replace(tiny, precision=precision), tmp_path)
            server.warm_up(4)
            seen[precision] = jax.config.jax_default_matmul_precision
            answer = server.compute(4, chain=2)
            assert len(answer["seconds"]) == 2
            assert answer["memory_bytes"] is None  # of a task JAX cannot tell it
            assert len(server.losses()["losses"]) == 8
            server.unload()
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert seen == {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "highest"}


@pytest.mark.peers
@pytest.mark.parametrize("name", ["torch-cuda", "jax-cuda"])
def test_without_a_gpu_a_peer_that_needs_one_says_so(name):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(PeerError, match=rf"{name} failed at 'describe'"):
        describe_peer(name, [32])


def test_one_process_does_all_workloads_and_is_replaced_when_it_ends(tiny):
    _, weights, _ = initial_weights(tiny, 0)
    with Lasting("numpy") as make:
        first = make(tiny, weights, 0)
        process = first._process
        first.close()
        second = make(tiny, weights, 0)
        assert second._process is process
        process._child.kill()
        process._child.wait()
        second.close()
        third = make(tiny, weights, 0)
        assert third._process is not process
        assert len(third.warm_up(2)) == 2
    assert not third._process.alive


def test_who_needs_the_whole_card_has_a_process_that_ends(tiny):
    _, weights, _ = initial_weights(tiny, 0)
    large = replace(tiny, plan=replace(tiny.plan, alone=True))
    with Lasting("numpy") as make:
        before = make(tiny, weights, 0)._process
        alone = make(large, weights, 0)
        assert not before.alive
        alone.close()
        assert not alone._process.alive


@pytest.mark.gpu
@pytest.mark.peers
def test_all_peers_on_the_gpu_get_the_same_losses(small_harness):
    from nnlib_benchmarks.runner import Request, run

    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    request = Request(
        workloads=["mlp", "mlp@tf32", "mlp@bf16"], backends=["cupy"],
        peers=["torch-cuda", "torch-compile-cuda"],
    )  # fmt: skip

    result = run(request)

    assert result.failures == []
    assert all(len(t.results) == 3 for t in result.training)
