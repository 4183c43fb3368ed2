"""L3: matrix products and convolutions parallelise well, if they are large enough.

The rate of an operation is its work over its time:

    product, convolution    2 operations for each multiply-add     GFLOP/s
    activation              4 bytes for each number in or out      GB/s

Each is called at many sizes on one thread, on all threads and, where there is one, on a GPU.
Starting many threads, or a GPU, costs some microseconds whatever the size; so there is a crossover,
the size from which they are faster, there and at all larger sizes.  Products and convolutions
compute much with every number they fetch, so they can use all cores.  ReLU computes next to
nothing: beyond the caches it is as fast as the memory, and cores wait for that together.

Measure on a machine with nothing else to do: threads that have to wait for their turn make a small
operation many times slower than one thread alone.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from course import output_folder, picture, table

import nnlib
from nnlib_benchmarks.contestants import describe_backend
from nnlib_benchmarks.crossover import find_crossover
from nnlib_benchmarks.operations import run_operations
from nnlib_benchmarks.progress import SilentProgress
from nnlib_benchmarks.runner import Request, check
from nnlib_benchmarks.workloads.base import Budget
from nnlib_benchmarks.workloads.ops import activation_case, conv_case, matmul_case

BUDGET = Budget(seconds=0.1, least=3, most=15)  # of one size
MATMUL = (16, 32, 64, 128, 256, 512, 1024, 2048)
SIDES = (7, 14, 28, 56, 112)
ELEMENTS = tuple(2**k for k in range(10, 25, 2))
OPERATIONS = {  # title, and what its sizes are
    "matmul": ("Matrix product (n × n) · (n × n)", "n"),
    "conv2d": ("3×3 convolution, 64 → 64 channels, 4 images", "side of the image"),
    "relu": ("ReLU", "elements"),
    "gelu": ("GELU", "elements"),
}
UNITS = {"matmul": "GFLOP/s", "conv2d": "GFLOP/s", "relu": "GB/s", "gelu": "GB/s"}


def measure(backend: str, sizes: dict[str, list[int]]) -> dict[str, list[tuple[int, float, float]]]:
    """Return (size, seconds, work) of every operation's forward pass, in this process."""
    make = {"matmul": matmul_case, "conv2d": conv_case}
    cases = [
        make[name](size) if name in make else activation_case(name, size)
        for name in sizes
        for size in sizes[name]
    ]
    contestants = [describe_backend(backend)]
    points = run_operations(cases, contestants, BUDGET, 1, 0, SilentProgress())
    results: dict[str, Any] = {name: [] for name in sizes}
    for point in points:
        if point.direction == "forward":
            seconds = point.times[backend].median
            results[point.operation].append((point.size, seconds, point.flops or point.bytes))
    return results


def measure_elsewhere(backend: str, threads: int | None, sizes: dict[str, Any]) -> dict[str, Any]:
    """Measure in a new process, because nnlib reads the number of threads at its start."""
    environment = {k: v for k, v in os.environ.items() if k != "NNLIB_NUM_THREADS"}
    if threads is not None:
        environment["NNLIB_NUM_THREADS"] = str(threads)
    command = [sys.executable, __file__, "--measure", backend, json.dumps(sizes)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main(
    out: Path,
    matmul: tuple[int, ...] = MATMUL,
    sides: tuple[int, ...] = SIDES,
    elements: tuple[int, ...] = ELEMENTS,
) -> dict[str, Any]:
    sizes = {"matmul": matmul, "conv2d": sides, "relu": elements, "gelu": elements}
    names, missing = check(Request())
    cores = nnlib.backend_info("numpy")["cores"]
    results = {"1 thread": measure_elsewhere("numpy", 1, sizes)}
    if cores > 1:
        results[f"{cores} threads"] = measure_elsewhere("numpy", None, sizes)
    for name in names[1:]:
        results[name] = measure_elsewhere(name, None, sizes)

    for operation in sizes:
        columns = [[f"{w / t / 1e9:.3g}" for _, t, w in r[operation]] for r in results.values()]
        rows = zip((f"{size:,}" for size in sizes[operation]), *columns, strict=True)
        table((f"{operation}, {UNITS[operation]}", *results), list(rows))
    found = crossovers(results, sizes)
    table(
        ("operation", "faster on", "than on", "from size", "at the largest size"),
        [(*key, size, f"{speedup:.2f}×") for key, (size, speedup) in found.items()],
    )
    for absent in missing:
        print(f"{absent.name}: not measured. {absent.detail}\n")
    picture(out / "l03_parallel.png", (10, 7), lambda figure: draw(figure, results, found))
    return {"results": results, "crossovers": found}


def crossovers(results: dict[str, Any], operations: Any) -> dict[tuple[str, str, str], Any]:
    """Return (size, speedup at the largest size) by operation, rival and reference."""
    one, *others = results
    reference = {rival: one if "thread" in rival else others[0] for rival in others}
    found = {}
    for operation in operations:
        for rival in others:
            sizes, slow, _ = zip(*results[reference[rival]][operation], strict=True)
            _, fast, _ = zip(*results[rival][operation], strict=True)
            verdict, size, _ = find_crossover(sizes, slow, fast)
            words = "never" if verdict == "never" else f"{size:,}"
            found[operation, rival, reference[rival]] = (words, slow[-1] / fast[-1])
    return found


def short(size: int) -> str:
    """Write 2**14 as 16k."""
    for power, letter in ((2**20, "M"), (2**10, "k")):
        if size >= power and size % power == 0:
            return f"{size // power}{letter}"
    return str(size)


def draw(figure: Any, results: dict[str, Any], found: dict[Any, Any]) -> None:
    for axes, operation in zip(figure.subplots(2, 2).flat, OPERATIONS, strict=True):
        for who, result in results.items():
            sizes, seconds, work = zip(*result[operation], strict=True)
            rates = [w / s / 1e9 for w, s in zip(work, seconds, strict=True)]
            axes.loglog(sizes, rates, marker="o", markersize=4, label=who)
        title, what = OPERATIONS[operation]
        axes.set(title=title, xlabel=what, ylabel=UNITS[operation])
        axes.set_xticks(sizes, map(short, sizes))
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        for (of, rival, _), (size, _) in found.items():
            if of == operation and size != "never":
                place, label = int(size.replace(",", "")), f"from here {rival} faster"
                axes.axvline(place, color="0.5", linestyle=":", linewidth=1.5, label=label)
        axes.legend()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], json.loads(sys.argv[3]))))
    else:
        main(output_folder(__doc__))
