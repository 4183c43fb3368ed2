"""Times single operations on all backends, and checks that the results agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import nnlib
from nnlib.random import Generator
from nnlib_benchmarks.fairness import compare_results
from nnlib_benchmarks.progress import Progress
from nnlib_benchmarks.records import Agreement, Contestant, Operation, Timing
from nnlib_benchmarks.timing import Stopwatch, affordable, interleave
from nnlib_benchmarks.workloads.base import Budget
from nnlib_benchmarks.workloads.ops import Case

LEAST_SAMPLE = 5e-4  #: seconds of the calls in one sample
BUDGET = Budget(seconds=0.04, least=2, most=9)  #: of one case, direction and pass
QUICK_BUDGET = Budget(seconds=0.02, least=3, most=6)
PASSES = 3
QUICK_PASSES = 2
"""How often everything is gone through: a processor is slow for a while rather than for one call,
so samples taken minutes apart say more than as many taken at once."""

DIRECTIONS = ("forward", "forward+backward")


def run_operations(
    cases: Sequence[Case],
    contestants: Sequence[Contestant],
    budget: Budget,
    passes: int,
    seed: int,
    progress: Progress,
) -> list[Operation]:
    """Measure every case in both directions.

    Parameters
    ----------
    cases : sequence of Case
        The operations to measure.
    contestants : sequence of Contestant
        Backends; the first is the reference of the agreement.
    budget : Budget
        Seconds for one case in one direction and pass, all contestants together.
    passes : int
        Number of passes over all cases.
    seed : int
        For the inputs.
    progress : Progress
        Updated after every case.
    """
    progress.stage("ops: matmul, conv2d, activations", passes * len(cases))
    results: list[list[Operation]] = []
    for _ in range(passes):
        results.append([])
        for case in cases:
            results[-1] += [_run_case(case, d, contestants, budget, seed) for d in DIRECTIONS]
            progress.advance()
    return join_passes(results)


def join_passes(passes: Sequence[Sequence[Operation]]) -> list[Operation]:
    """Join the samples of each operation from all passes."""
    return [
        replace(
            points[0],
            times={n: Timing.joined([p.times[n] for p in points]) for n in points[0].times},
        )
        for points in zip(*passes, strict=True)
    ]


def _run_case(
    case: Case, direction: str, contestants: Sequence[Contestant], budget: Budget, seed: int
) -> Operation:
    backward = direction != "forward"
    actions: dict[str, Callable[[], object]] = {}
    results: dict[str, np.ndarray[Any, Any]] = {}
    for c in contestants:
        actions[c.name], results[c.name] = _prepare(case, c.name, backward, seed)
    reference = contestants[0].name
    agreements = [
        compare_results((reference, results[reference]), (c.name, results[c.name]), c.precision)
        for c in contestants[1:]
    ]
    elements = sum(map(math.prod, case.inputs)) + math.prod(case.output)
    return Operation(
        operation=case.operation,
        direction=direction,
        size=case.size,
        unit=case.unit,
        shape=case.shape,
        bytes=4 * elements * (2 if backward else 1),
        flops=None if case.flops is None else float(case.flops * (3 if backward else 1)),
        times=take_turns(actions, contestants, budget),
        agreements=agreements,
    )


def _prepare(
    case: Case, backend: str, backward: bool, seed: int
) -> tuple[Callable[[], object], np.ndarray[Any, Any]]:
    """Copy the inputs to a backend; return the timed function, and its results (flat, host)."""
    generator = Generator(seed)
    with nnlib.use_backend(backend):
        inputs = [_normal(generator, shape, backend) for shape in case.inputs]
        gradient = _normal(generator, case.output, backend)
    for x in inputs:
        x.requires_grad = backward

    def forward() -> Any:
        with nnlib.no_grad():
            return case.call(*inputs)

    def both() -> Any:
        for x in inputs:
            x.grad = None
        y = case.call(*inputs)
        y.backward(gradient)
        return y

    action = both if backward else forward
    arrays = [action(), *(x.grad for x in inputs if backward)]
    return action, np.concatenate([array.numpy().ravel() for array in arrays])


def _normal(generator: Generator, shape: tuple[int, ...], backend: str) -> Any:
    """Draw the same numbers for every backend on the host, and copy them."""
    return nnlib.tensor(generator.normal(shape, backend="numpy"), backend=backend)


def take_turns(
    actions: Mapping[str, Callable[[], object]], contestants: Sequence[Contestant], budget: Budget
) -> dict[str, Timing]:
    """Time every contestant's function, A B A B, as often as the budget allows.

    Each was called at least once before, so first-call costs are not included.
    """
    watches = {}
    round_s = 0.0
    for c in contestants:
        with nnlib.use_backend(c.name) as backend:
            watch = watches[c.name] = Stopwatch(backend, device_clock=c.kind == "gpu")
            once = watch.calibrate(actions[c.name], LEAST_SAMPLE)
            round_s += once * watch.calls
    rounds = affordable(round_s, budget.seconds, budget.least, budget.most)
    for c in interleave(contestants, rounds):
        with nnlib.use_backend(c.name):
            watches[c.name].measure(actions[c.name])
    return {name: watch.timing() for name, watch in watches.items()}


def disagreements(operations: Sequence[Operation]) -> list[tuple[Operation, Agreement]]:
    """Return every disagreement with its operation."""
    return [(o, a) for o in operations for a in o.agreements if not a.agree]
