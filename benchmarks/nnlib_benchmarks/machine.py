"""Description of the machine, and the load by other programs."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.cli.machine import machine_facts
from nnlib_benchmarks.records import Blas, Machine


def describe_machine(gpus: Sequence[str] = ()) -> Machine:
    """Describe the machine, without personal names.

    Parameters
    ----------
    gpus : sequence of str
        Names of the GPUs used.

    Examples
    --------
    >>> describe_machine().cores >= 1
    True
    """
    facts = machine_facts()
    blas = [Blas(**library) for library in facts.pop("blas")]
    return Machine(gpus=list(gpus), blas=blas, **facts)


class CpuMeter:
    """Measures the share of the processor that other programs use, from its creation on.

    Examples
    --------
    >>> 0 <= CpuMeter().used_by_others() <= 1
    True
    """

    def __init__(self) -> None:
        self._all, self._busy, self._own = self._read()

    def used_by_others(self) -> float:
        """Return the share so far, 0 to 1: the total usage minus that of this run."""
        total, busy, own = self._read()
        others = (busy - self._busy) - (own - self._own)
        return min(1.0, max(0.0, others / max(total - self._all, 1e-9)))

    @staticmethod
    def _read() -> tuple[float, float, float]:
        """Seconds of all processors so far: total, busy, in this process and its children."""
        import psutil

        system, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle = system.idle + getattr(system, "iowait", 0.0)
        # guest time is part of user time already
        total = sum(system) - getattr(system, "guest", 0.0) - getattr(system, "guest_nice", 0.0)
        return total, total - idle, sum(own[:4])  # user, system, and both of ended children
