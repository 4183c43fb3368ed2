"""Memory bandwidth of every kernel of a backend, as a share of the copy rate, and rates of GEMMs.

    python benchmarks/gpu_bandwidth.py --backend cupy --json bandwidth.json

A kernel has to read its arguments once and to write its results once; the bytes of these, divided
by the time, are a share of the rate at which the same device copies an array.  What a kernel reads
twice, or keeps for later, counts against it.  Kernels that take data in bfloat16
(`KernelPair.half`) are measured so, too.  Products, convolutions and attention are in gpu_rates.py.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nnlib
import nnlib.nn.functional as F
from gpu_rates import low, normal, rates
from linear_ways import linear_rows
from nnlib import optim
from nnlib.ops.operation import fused_operations
from nnlib.optim.update import UpdateRule
from nnlib_backends import Backend
from nnlib_backends.base import anywhere
from nnlib_backends.dtypes import is_floating

Row = dict[str, Any]

REPETITIONS = 10
WARM_UP = 3
LONG = 1.0  #: seconds after which no more samples are taken
POOL = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def seconds(backend: Backend, function: Callable[[], object]) -> float:
    """Median time by the device's own clock; a sample of short calls has several."""
    for _ in range(WARM_UP):
        function()
    backend.synchronize()
    timer = backend.timer()
    calls, samples = 1, []
    begin = time.perf_counter()
    while len(samples) < (REPETITIONS if time.perf_counter() < begin + LONG else 1):
        timer.start()
        for _ in range(calls):
            function()
        timer.stop()
        each = timer.seconds() / calls
        if each * calls < 1e-3 and calls < 1024:
            calls *= 2
        else:
            samples.append(each)
    return statistics.median(samples)


def fused_cases(size: int) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    """Arguments of memory-bound operations; the first has about ``size`` float32 values."""
    rows = size // 1024
    pixels = max(size // (56 * 56 * 64), 1)
    maps = (pixels, 56, 56, 64)
    return {
        "gelu": ([(rows, 1024)], {"approximate": "tanh"}),
        "silu": ([(rows, 1024)], {}),
        "layer_norm": ([(rows, 1024), (1024,), (1024,)], {"eps": 1e-5}),
        "rms_norm": ([(rows, 1024), (1024,)], {"eps": 1e-5}),
        "batch_norm": ([maps, (64,), (64,)], {"eps": 1e-5}),
        "softmax_cross_entropy": ([(rows, 1024), rows], {}),
        "sigmoid_cross_entropy": ([(rows, 1024), (rows, 1024)], {}),
        "dropout": ([(rows, 1024), "key"], {"p": 0.1}),
        "max_pool2d": ([maps], POOL),
        "avg_pool2d": ([maps], POOL),
        "embedding": ([(1024, 1024), rows], {}),
    }


def make(backend: Backend, argument: Any) -> Any:
    """Normal numbers of a shape, a count of labels below 1024, or a key of random numbers."""
    if argument == "key":
        return backend.asarray(nnlib.random.Generator(0).reserve(4, "numpy"))
    if isinstance(argument, int):
        return backend.asarray(nnlib.random.Generator(0).integers(0, 1024, argument))
    return normal(backend, argument)[0]


def kernel_rows(backend: Backend, size: int, precision: str) -> Iterator[Row]:
    """Time the fused operations, forward and backward."""
    known = {operation.name for operation in fused_operations()}
    for name, (arguments, options) in fused_cases(size).items():
        kernel = backend.kernels.get(name)
        if kernel is None or name not in known:
            continue
        if precision == "bf16" and (not kernel.half or name == "embedding"):
            continue
        title = name if precision == "fp32" else f"{precision} {name}"
        try:
            arrays = low(backend, name, precision, [make(backend, a) for a in arguments])
            y, saved = kernel.forward(*arrays, **options)
            read = sum(array.nbytes for array in arrays)
            if name == "embedding":  # only the rows of the indices
                read = arrays[1].nbytes + y.nbytes
            forward = seconds(backend, lambda k=kernel, a=arrays, o=options: k.forward(*a, **o))
            yield {"name": f"{title} forward", "bytes": read + y.nbytes, "seconds": forward}
            needed = tuple(is_floating(array.dtype) for array in arrays)
            g = backend.xp.ones_like(y)
            call = (g, saved, anywhere(needed), *arrays)
            backward = seconds(backend, lambda k=kernel, c=call, o=options: k.backward(*c, **o))
            wanted = sum(a.nbytes for a, is_needed in zip(arrays, needed, strict=True) if is_needed)
            moved = read + g.nbytes + wanted
            yield {"name": f"{title} backward", "bytes": moved, "seconds": backward}
        except Exception as error:  # noqa: BLE001 - the others are still measured
            yield {"name": title, "error": f"{type(error).__name__}: {error}"}


def bias_rows(backend: Backend, size: int, precision: str) -> Iterator[Row]:
    """Time the gradient of a bias: the sum over the rows of the incoming gradient."""
    x, weight, bias = (make(backend, shape) for shape in ((size // 1024, 8), (1024, 8), (1024,)))
    kernel, outs = backend.kernels["linear"], anywhere([False, False, True])
    arrays = low(backend, "linear", precision, [x, weight, bias])
    y, saved = kernel.forward(*arrays, activation=None)
    g = backend.xp.ones_like(y)
    call = partial(kernel.backward, g, saved, outs, *arrays, activation=None)
    yield {"name": "bias gradient", "bytes": g.nbytes, "seconds": seconds(backend, call)}


def softmax_rows(backend: Backend, size: int, precision: str) -> Iterator[Row]:
    """Time softmax and its logarithm, which are primitives, over rows."""
    (data,) = low(backend, None, precision, [make(backend, (size // 1024, 1024))])
    x, moved = nnlib.tensor(data, requires_grad=True), data.nbytes
    g = nnlib.ones_like(x)
    for name in ("softmax", "log_softmax"):
        function, y = getattr(F, name), getattr(F, name)(x)

        def forward(function: Any = function) -> None:
            with nnlib.no_grad():
                function(x)

        def backward(y: Any = y) -> None:
            x.grad = None
            y.backward(g, retain_graph=True)

        for way, call, times in (("forward", forward, 2), ("backward", backward, 3)):
            elapsed = seconds(backend, call)
            yield {"name": f"{name} {way}", "bytes": times * moved, "seconds": elapsed}


def clipping_rows(backend: Backend, size: int, _precision: str) -> Iterator[Row]:
    """Time the clipping of gradients by their norm, which reads them twice and writes them."""
    x = nnlib.tensor(make(backend, (size,)), requires_grad=True)
    x.grad = nnlib.ones_like(x)
    clip = partial(optim.clip_grad_norm_, [x], 1.0)
    yield {"name": "clipping", "bytes": 3 * x.data.nbytes, "seconds": seconds(backend, clip)}


def other_rows(backend: Backend, size: int) -> Iterator[Row]:
    """Time all kernels other than fused operations of one array and updates."""
    cases: list[tuple[Any, str]] = [
        (bias_rows, "fp32"), (softmax_rows, "fp32"), (clipping_rows, "fp32")
    ]  # fmt: skip
    if backend.kernels["linear"].half and not backend.host_memory:
        cases.append((bias_rows, "bf16"))
    if "softmax" in backend.primitives:
        cases.append((softmax_rows, "bf16"))
    for rows, precision in cases:
        try:
            for row in rows(backend, size, precision):
                yield row if precision == "fp32" else row | {"name": f"{precision} {row['name']}"}
        except Exception as error:  # noqa: BLE001 - as above
            name = f"{precision} {rows.__name__}"
            yield {"name": name, "error": f"{type(error).__name__}: {error}"}


def update_rows(backend: Backend, size: int) -> Iterator[Row]:
    """Time the optimizers' update rules, as a traced step calls them."""
    for rule in UpdateRule.registry.values():
        if not rule.samples:  # a user's rule
            continue
        present, scalars, flags = rule.samples[0]
        try:
            p, g = (make(backend, (size,)) for _ in range(2))
            state = [backend.xp.ones_like(p) if there else None for there in present]
            values = backend.asarray([scalars[name] for name in rule.scalars], dtype=p.dtype)
            call = (backend, p, g, *state)
            elapsed = seconds(
                backend, lambda r=rule, c=call, v=values, f=flags: r(*c, scalars=v, **f)
            )
            moved = p.nbytes * (3 + 2 * sum(present))  # p and state are read and written, g is read
            yield {"name": f"{rule.name} update", "bytes": moved, "seconds": elapsed}
        except Exception as error:  # noqa: BLE001 - as above
            yield {"name": rule.name, "error": f"{type(error).__name__}: {error}"}


def measure(
    backend: Backend, megabytes: float, largest: int, keep: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Measure everything; shares are of the copy rate, or of the square GEMM.

    `keep` is called with all results after each part, so an aborted run keeps them.
    """
    size = int(megabytes * 2**20) // 4
    x = make(backend, (size,))
    y = backend.xp.empty_like(x)
    elapsed = seconds(backend, lambda: y.__setitem__(..., x))
    copy_rate = 2 * x.nbytes / elapsed
    result: dict[str, Any] = {
        "device": nnlib.backend_info(backend),
        "megabytes": megabytes,
        "copy_bytes_per_second": copy_rate,
        "kernels": [],
        "products": [],
    }
    mixed = () if backend.host_memory else ("bf16",)
    for part in (
        *(kernel_rows(backend, size, precision) for precision in ("fp32", *mixed)),
        update_rows(backend, size),
        other_rows(backend, size),
    ):
        for row in part:
            if "bytes" in row:
                row["share_of_copy"] = row["bytes"] / row["seconds"] / copy_rate
            result["kernels"].append(row)
        keep(result)
    for rows in rates(backend, largest, partial(seconds, backend)):
        result["products"] += rows
        keep(result)
    if backend.name.startswith("cupy"):  # last: it compares two implementations
        result["products"] += ways(backend)
        keep(result)
    return result


def ways(backend: Backend) -> list[Row]:
    """Time both implementations of the epilogue of `linear`."""
    try:
        rows = list(linear_rows(backend, seconds, dtypes=("bfloat16",)))
    except Exception as error:  # noqa: BLE001 - as above
        return [{"name": "ways of linear", "error": f"{type(error).__name__}: {error}"}]
    return [row | {"flops_per_second": row["flops"] / row["seconds"]} for row in rows]


def table(result: dict[str, Any]) -> str:
    """Format the result as a table."""
    lines = [f"{result['device']['name']}: copies {result['copy_bytes_per_second'] / 1e9:.0f} GB/s"]
    for row in result["kernels"] + result["products"]:
        if "error" in row:
            lines.append(f"  {row['name']:<44} {row['error'].splitlines()[0][:90]}")
        elif "share_of_copy" in row:
            rate = row["bytes"] / row["seconds"] / 1e9
            lines.append(
                f"  {row['name']:<44} {rate:9.1f} GB/s {row['share_of_copy']:6.0%} of copy"
            )
        else:
            rate = row["flops_per_second"] / 1e12
            share = row.get("share_of_square", float("nan"))
            lines.append(f"  {row['name']:<44} {rate:9.2f} TFLOP/s {share:6.0%}")
    return "\n".join(lines)


def main() -> int:
    """Measure one backend."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="cupy")
    # a call must take longer than Python needs to start the next one: some 20 µs
    parser.add_argument("--megabytes", type=float, default=512.0, help="of the largest arrays")
    parser.add_argument("--largest", type=int, default=8192, help="side of the largest product")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()

    def keep(result: dict[str, Any]) -> None:
        if options.json:
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")

    with nnlib.use_backend(options.backend) as backend:
        result = measure(backend, options.megabytes, options.largest, keep)
    print(table(result))
    return 0 if all("error" not in row for row in result["kernels"]) else 1


if __name__ == "__main__":
    sys.exit(main())
