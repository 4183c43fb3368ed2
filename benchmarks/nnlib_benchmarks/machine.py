"""What a number was measured on, and how busy the processor was with other things."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.cli.machine import machine_facts
from nnlib_benchmarks.records import Blas, Machine


def describe_machine(gpus: Sequence[str] = ()) -> Machine:
    """Take down everything that a reader needs to judge a number, and nothing that names a person.

    Parameters
    ----------
    gpus : sequence of str
        Names of the GPUs that take part.

    Examples
    --------
    >>> describe_machine().cores >= 1
    True
    """
    facts = machine_facts()
    blas = [Blas(**library) for library in facts.pop("blas")]
    return Machine(gpus=list(gpus), blas=blas, **facts)


class CpuMeter:
    """Measures what share of the processor others use, from its making on.

    Examples
    --------
    >>> 0 <= CpuMeter().used_by_others() <= 1
    True
    """

    def __init__(self) -> None:
        self._all, self._busy, self._own = self._read()

    def used_by_others(self) -> float:
        """Return the share so far, 0 to 1: what was used, less what this run used."""
        total, busy, own = self._read()
        others = (busy - self._busy) - (own - self._own)
        return min(1.0, max(0.0, others / max(total - self._all, 1e-9)))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds of all processors so far: in all, not idle, in this process and its children."""
        import psutil

        system, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = system.idle + getattr(system, "iowait", 0.0)
        # guest time is part of user time already
        total = sum(system) - getattr(system, "guest", 0.0) - getattr(system, "guest_nice", 0.0)
        return total, total - idle, sum(own[:4])  # user, system, and both of ended children
