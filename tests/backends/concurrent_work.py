"""Work for threads and processes: `test_locks.py` runs this file, with the kind of work's name.

It ends with code 0 if everybody came to the same bits.
"""

import hashlib
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np


def train(seed=0):
    """Train a network in compiled steps; return what its parameters then are, as a digest."""
    import nnlib
    from nnlib import nn, optim
    from nnlib.nn import functional as F

    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64), nn.LayerNorm(64), nn.Linear(64, 10)
    )
    for p in model.parameters():
        p.data[...] = rng.normal(size=p.shape) * 0.1
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x = nnlib.tensor(rng.normal(size=(512, 64)).astype("f4"))
    labels = nnlib.tensor(rng.integers(0, 10, 512))

    @nnlib.compile
    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(6):
        step(x, labels)
    square = nnlib.tensor(rng.normal(size=(300, 300)))
    results = [*model.parameters(), square @ square]  # the product by NumPy's BLAS
    return hashlib.sha256(b"".join(r.numpy().tobytes() for r in results)).hexdigest()


def apply_everything(first):
    """Compute every fused operation and its gradients, beginning at one; return all results."""
    from nnlib import Tensor, tensor
    from nnlib.ops.operation import Integers, fused_operations

    results = {}
    operations = list(fused_operations())
    for operation in operations[first:] + operations[:first]:
        samples, options = operation.samples[0]
        rng = np.random.default_rng(0)
        inputs = [
            rng.integers(0, sample.high, sample.shape)
            if isinstance(sample, Integers)
            else None if sample is None else rng.normal(size=sample).astype("f4")
            for sample in samples
        ]  # fmt: skip
        inputs = [x if x is None else tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]
        y = operation(*inputs, **options)
        (y * y).sum().backward()
        values = [y, *[x.grad for x in inputs if isinstance(x, Tensor)]]
        results[operation.name] = [None if v is None else v.numpy().tobytes() for v in values]
    return results


def in_child(function):
    """Return what a function returns in a forked child, or how that ended."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, function().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        result = file.read()
    _, status = os.waitpid(process, 0)
    return result or f"status {status}"


def fork():
    """Children, grandchildren, and children of a pool."""
    expected = train()
    found = [in_child(train), in_child(lambda: in_child(train))]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found += pool.map(train, [0, 0])
    return {expected, *found}


def executor(method):
    """A pool whose workers are started by a method."""
    expected = train()
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        return {expected, *pool.map(train, [0, 0])}


def joblib():
    """All of joblib's ways."""
    from joblib import Parallel, delayed

    results = {train()}
    for backend in ("loky", "multiprocessing", "threading"):
        results |= set(Parallel(2, backend=backend)(delayed(train)(0) for _ in range(3)))
    return results


def fork_while_others_compute():
    """Children of a process whose other threads are in the middle of something."""
    expected, over = {seed: train(seed) for seed in range(3)}, threading.Event()
    others = []

    def compute(seed):
        while not over.is_set():
            others.append(train(seed) == expected[seed])

    threads = [threading.Thread(target=compute, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    found = []
    for wait in range(6):
        time.sleep(0.01 * wait)
        found.append(in_child(train))
    over.set()
    for thread in threads:
        thread.join()
    assert all(others)
    return {expected[0], *found}


def first_use_in_threads():
    """Import, first use of all kernels, compilation and training in eight threads at once."""
    count = 8
    barrier, results = threading.Barrier(count), []

    def compute(number):
        barrier.wait()
        results.append((train(), sorted(apply_everything(3 * number).items())))

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return {repr(result) for result in [*results, (train(), sorted(apply_everything(0).items()))]}


if __name__ == "__main__":
    kind, *words = sys.argv[1:]
    assert len(globals()[kind](*words)) == 1
