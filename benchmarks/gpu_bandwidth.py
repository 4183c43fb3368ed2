"""How near every kernel of a backend comes to what its memory can carry, and products to the peak.

    python benchmarks/gpu_bandwidth.py --backend cupy --json bandwidth.json

A kernel has to read its arguments once and to write its results once; the bytes of these, divided
by the time, are a share of the rate at which the same device copies an array.  What a kernel reads
twice, or keeps for later, counts against it.  Products are given as a share of the fastest one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nnlib
from nnlib.ops.operation import fused_operations
from nnlib.optim.update import UpdateRule
from nnlib_backends import Backend

REPETITIONS = 10
WARM_UP = 3
POOL = {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}


def seconds(backend: Backend, function: Callable[[], object]) -> float:
    """Median time in the device's own clock; short calls are repeated in one reading."""
    for _ in range(WARM_UP):
        function()
    backend.synchronize()
    timer = backend.timer()
    calls, samples = 1, []
    while len(samples) < REPETITIONS:
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
    """Arguments of operations that memory limits; the first has about ``size`` float32 values."""
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
    generator = nnlib.random.Generator(0)
    if argument == "key":
        return backend.asarray(generator.reserve(4, "numpy"))
    if isinstance(argument, int):
        return backend.asarray(generator.integers(0, 1024, argument))
    return generator.normal(argument, backend=backend)


def kernel_rows(backend: Backend, size: int) -> Iterator[dict[str, Any]]:
    """Time the fused operations, forward and backward."""
    known = {operation.name for operation in fused_operations()}
    for name, (arguments, options) in fused_cases(size).items():
        kernel = backend.kernels.get(name)
        if kernel is None or name not in known:
            continue
        try:
            arrays = [make(backend, argument) for argument in arguments]
            y, saved = kernel.forward(*arrays, **options)
            read = sum(array.nbytes for array in arrays)
            if name == "embedding":  # only the rows that are looked up
                read = arrays[1].nbytes + y.nbytes
            forward = seconds(backend, lambda k=kernel, a=arrays, o=options: k.forward(*a, **o))
            yield {"name": f"{name} forward", "bytes": read + y.nbytes, "seconds": forward}
            needs = tuple(array.dtype.kind == "f" for array in arrays)
            g = backend.xp.ones_like(y)
            call = (g, saved, needs, *arrays)
            backward = seconds(backend, lambda k=kernel, c=call, o=options: k.backward(*c, **o))
            wanted = sum(a.nbytes for a, need in zip(arrays, needs, strict=True) if need)
            moved = read + g.nbytes + wanted
            yield {"name": f"{name} backward", "bytes": moved, "seconds": backward}
        except Exception as error:  # noqa: BLE001 - the others are measured nevertheless
            yield {"name": name, "error": f"{type(error).__name__}: {error}"}


def update_rows(backend: Backend, size: int) -> Iterator[dict[str, Any]]:
    """Time the optimizers' update rules, as a recorded step calls them."""
    for rule in UpdateRule.registry.values():
        present, numbers, flags = rule.samples[0]
        try:
            p, g = (make(backend, (size,)) for _ in range(2))
            state = [backend.xp.ones_like(p) if there else None for there in present]
            values = backend.asarray([numbers[name] for name in rule.numbers], dtype=p.dtype)
            call = (backend, p, g, *state)
            elapsed = seconds(
                backend, lambda r=rule, c=call, v=values, f=flags: r(*c, numbers=v, **f)
            )
            moved = p.nbytes * (3 + 2 * sum(present))  # p and state are read and written, g is read
            yield {"name": f"{rule.name} update", "bytes": moved, "seconds": elapsed}
        except Exception as error:  # noqa: BLE001 - as above
            yield {"name": rule.name, "error": f"{type(error).__name__}: {error}"}


def product_rows(backend: Backend, largest: int) -> Iterator[dict[str, Any]]:
    """Time products: square ones, a layer's, the heads of attention; by cuBLASLt on a GPU."""
    n = largest
    shapes = {
        f"{n}x{n}x{n}": ((n, n), (n, n)),
        f"{n // 2}x{n // 2}x{n // 2}": ((n // 2, n // 2), (n // 2, n // 2)),
        f"64x{n // 8}x{n // 8}": ((64, n // 8), (n // 8, n // 8)),
        f"96 x {n // 8}x64x{n // 8}": ((96, n // 8, 64), (96, 64, n // 8)),
    }
    for dtype in ("float32",) if backend.host_memory else ("float32", "float16"):
        for name, (left, right) in shapes.items():
            try:
                a, b = (make(backend, shape).astype(dtype) for shape in (left, right))
                elapsed = seconds(backend, lambda a=a, b=b: backend.xp.matmul(a, b))
                work = 2 * math.prod(left) * right[-1]
                yield {"name": f"{dtype} {name}", "flops": work, "seconds": elapsed}
            except Exception as error:  # noqa: BLE001 - as above
                yield {"name": f"{dtype} {name}", "error": f"{type(error).__name__}: {error}"}


def measure(backend: Backend, megabytes: float, largest: int) -> dict[str, Any]:
    """Measure everything; shares are of the copy rate, or of the fastest product."""
    size = int(megabytes * 2**20) // 4
    x = make(backend, (size,))
    y = backend.xp.empty_like(x)
    elapsed = seconds(backend, lambda: y.__setitem__(..., x))
    copy_rate = 2 * x.nbytes / elapsed
    kernels = [*kernel_rows(backend, size), *update_rows(backend, size)]
    products = list(product_rows(backend, largest))
    for row in kernels:
        if "bytes" in row:
            row["share_of_copy"] = row["bytes"] / row["seconds"] / copy_rate
    for dtype in ("float32", "float16"):
        own = [row for row in products if row["name"].startswith(dtype) and "flops" in row]
        best = max((row["flops"] / row["seconds"] for row in own), default=0.0)
        for row in own:
            row["flops_per_second"] = row["flops"] / row["seconds"]
            row["share_of_best"] = row["flops_per_second"] / best
    return {
        "device": nnlib.backend_info(backend),
        "megabytes": megabytes,
        "copy_bytes_per_second": copy_rate,
        "kernels": kernels,
        "products": products,
    }


def table(result: dict[str, Any]) -> str:
    """Write the result down for a reader."""
    lines = [f"{result['device']['name']}: copies {result['copy_bytes_per_second'] / 1e9:.0f} GB/s"]
    for row in result["kernels"] + result["products"]:
        if "error" in row:
            lines.append(f"  {row['name']:<32} {row['error'].splitlines()[0][:90]}")
        elif "share_of_copy" in row:
            rate = row["bytes"] / row["seconds"] / 1e9
            lines.append(
                f"  {row['name']:<32} {rate:9.1f} GB/s {row['share_of_copy']:6.0%} of copy"
            )
        else:
            rate = row["flops_per_second"] / 1e12
            lines.append(f"  {row['name']:<32} {rate:9.2f} TFLOP/s {row['share_of_best']:6.0%}")
    return "\n".join(lines)


def main() -> int:
    """Measure one backend."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="cupy")
    parser.add_argument("--megabytes", type=float, default=64.0, help="of the largest arrays")
    parser.add_argument("--largest", type=int, default=8192, help="side of the largest product")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    with nnlib.use_backend(options.backend) as backend:
        result = measure(backend, options.megabytes, options.largest)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf8")
    print(table(result))
    return 0 if all("error" not in row for row in result["kernels"]) else 1


if __name__ == "__main__":
    sys.exit(main())
