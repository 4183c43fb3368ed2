"""Agreement of contestants, without which no speed-up is reported.

Two contestants that start from the same weights and use the same batches must report the same
losses, up to rounding.  Otherwise they compute different things, and their times are not
comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnlib_benchmarks.records import Agreement, Speedup, Target, TrainingResult


@dataclass(frozen=True)
class Tolerance:
    """Allowed difference of two results: ``|a − b| ≤ atol + rtol·|b|``."""

    rtol: float
    atol: float


FIRST_LOSS = {
    "fp32": Tolerance(rtol=2e-4, atol=1e-5),
    "tf32": Tolerance(rtol=5e-3, atol=1e-3),
    "bf16": Tolerance(rtol=1e-2, atol=1e-2),
}
"""Same weights, same batch: only rounding of one forward pass may differ."""

COMPARED_STEPS = 300
"""Later steps are not compared: rounding grows until two correct runs part."""

LOSS_CURVE = {
    "fp32": Tolerance(rtol=2e-2, atol=2e-3),
    "tf32": Tolerance(rtol=5e-2, atol=1e-2),
    "bf16": Tolerance(rtol=5e-2, atol=5e-2),
}
"""Training amplifies rounding step by step, so the rest of the curve gets more room."""

RESULT = {"fp32": Tolerance(rtol=1e-3, atol=1e-4), "tf32": Tolerance(rtol=1e-2, atol=1e-2)}
"""For one operation, relative to the largest magnitude of the reference's result."""


def compare_losses(
    reference: tuple[str, Sequence[float]],
    contestant: tuple[str, Sequence[float]],
    precision: str = "fp32",
) -> Agreement:
    """Compare two loss curves.

    Parameters
    ----------
    reference, contestant : (str, sequence of float)
        Name and losses, step by step.
    precision : str
        Of the training; it determines the tolerance.

    Returns
    -------
    Agreement
        About the first `COMPARED_STEPS` steps; both must have run equally many.

    Examples
    --------
    >>> compare_losses(("numpy", [2.3, 1.0]), ("cupy", [2.3, 1.001])).agree
    True
    >>> compare_losses(("numpy", [2.3, 1.0]), ("cupy", [2.4, 1.0])).message
    'loss curves of numpy and cupy disagree (tolerance 2% + 0.002, first step 0.0002): 2.3 against \
2.4 at step 1 of 2'
    """
    (name_a, a), (name_b, b) = reference, contestant
    rest = LOSS_CURVE[precision]
    if len(a) != len(b) or not a:
        return Agreement(
            name_a, name_b, False, min(len(a), len(b)), float("inf"), 0, rest.rtol, rest.atol,
            f"{name_a} ran {len(a)} steps and {name_b} {len(b)}: the numbers must be equal",
        )  # fmt: skip
    first = FIRST_LOSS[precision]
    expected, received = (np.asarray(c[:COMPARED_STEPS], np.float64) for c in (a, b))
    room = rest.atol + rest.rtol * np.abs(expected)
    room[0] = first.atol + first.rtol * abs(expected[0])
    excess = _excess(expected, received, room)
    where = int(np.argmax(excess))
    worst = float(excess[where])
    stated = f"tolerance {rest.rtol:.0%} + {rest.atol:g}, first step {first.rtol:g}"
    seen = f"{expected[where]:.6g} against {received[where]:.6g} at step {where + 1}"
    curves = f"loss curves of {name_a} and {name_b}"
    if worst <= 1:
        message = f"{curves} agree over {len(expected)} steps ({stated}); furthest apart: {seen}"
    else:
        message = f"{curves} disagree ({stated}): {seen} of {len(expected)}"
    return Agreement(
        name_a, name_b, worst <= 1, len(expected), worst, where, rest.rtol, rest.atol, message
    )


def compare_results(
    reference: tuple[str, Any], contestant: tuple[str, Any], precision: str = "fp32"
) -> Agreement:
    """Compare two results of one operation (host arrays of one shape).

    The tolerance is relative to the largest magnitude in the reference's result, because a sum
    with cancellation keeps the rounding errors of its terms.

    Examples
    --------
    >>> import numpy as np
    >>> compare_results(("numpy", np.ones(3)), ("cupy", np.ones(3))).agree
    True
    """
    (name_a, a), (name_b, b) = reference, contestant
    tolerance = RESULT[precision]
    expected, received = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if np.shape(a) != np.shape(b):
        return Agreement(
            name_a, name_b, False, 0, float("inf"), 0, tolerance.rtol, tolerance.atol,
            f"{name_a} returned shape {np.shape(a)} and {name_b} {np.shape(b)}",
        )  # fmt: skip
    scale = float(np.max(np.abs(expected), initial=0.0))
    room = np.full(expected.shape, tolerance.atol + tolerance.rtol * scale)
    excess = _excess(expected, received, room)
    where = int(np.argmax(excess)) if excess.size else 0
    worst = float(excess[where]) if excess.size else 0.0
    verdict = "agree" if worst <= 1 else "disagree"
    return Agreement(
        name_a, name_b, worst <= 1, expected.size, worst, where, tolerance.rtol, tolerance.atol,
        f"results of {name_a} and {name_b} {verdict} (worst difference {worst:.2g} × tolerance)",
    )  # fmt: skip


def _excess(expected: Any, received: Any, room: Any) -> Any:
    """Difference in units of the tolerance; infinite if only one side is finite."""
    with np.errstate(invalid="ignore"):
        excess = np.abs(expected - received) / room
    same = (expected == received) | (np.isnan(expected) & np.isnan(received))
    return np.where(same, 0.0, np.where(np.isfinite(excess), excess, np.inf))


def speedups(results: Sequence[TrainingResult], agreements: Sequence[Agreement]) -> list[Speedup]:
    """Reference time by contestant time, only for those that agree with the reference."""
    reference = results[0]
    by_name = {result.contestant: result for result in results}
    found = []
    for agreement in agreements:
        if agreement.agree:
            other = by_name[agreement.contestant]
            found.append(
                Speedup(
                    reference=reference.contestant,
                    contestant=other.contestant,
                    compute=reference.compute.median / other.compute.median,
                    end_to_end=reference.end_to_end.median / other.end_to_end.median,
                    to_target=_target_ratio(reference.target, other.target),
                )
            )
    return found


def _target_ratio(reference: Target | None, other: Target | None) -> float | None:
    if reference is None or other is None or not (reference.reached and other.reached):
        return None
    return reference.seconds / other.seconds
