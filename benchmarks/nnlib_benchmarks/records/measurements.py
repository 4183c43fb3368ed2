"""Records of the measurements of one contestant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of a step or call.

    Attributes
    ----------
    samples : list of float
        Wall-clock seconds of one step (or call), the device synchronised before and after.
    device_samples : list of float or None
        The same by the device's own events; ``None`` where host and device are one.
    calls_per_sample : int
        Number of calls in a sample, which is their mean.
    median, q1, q3 : float
        Median and quartiles of `samples`.
    """

    samples: list[float]
    device_samples: list[float] | None
    calls_per_sample: int
    median: float
    q1: float
    q3: float

    @classmethod
    def from_samples(
        cls,
        samples: list[float],
        device_samples: list[float] | None = None,
        calls_per_sample: int = 1,
    ) -> Timing:
        """Summarise raw samples.

        Examples
        --------
        >>> Timing.from_samples([1.0, 2.0, 3.0, 4.0, 5.0]).median
        3.0
        """
        q1, median, q3 = (float(q) for q in np.quantile(samples, [0.25, 0.5, 0.75]))
        return cls(samples, device_samples, calls_per_sample, median, q1, q3)

    @classmethod
    def joined(cls, timings: Sequence[Timing]) -> Timing:
        """Join the samples of several passes.

        Examples
        --------
        >>> Timing.joined([Timing.from_samples([1.0]), Timing.from_samples([3.0])]).median
        2.0
        """
        device: list[float] | None = []
        for timing in timings:
            if device is not None and timing.device_samples is not None:
                device = device + timing.device_samples
            else:
                device = None
        samples = [sample for timing in timings for sample in timing.samples]
        return cls.from_samples(samples, device, timings[0].calls_per_sample)

    @property
    def iqr(self) -> float:
        """Interquartile range: the spread of the middle half."""
        return self.q3 - self.q1

    @property
    def device_median(self) -> float | None:
        """Median of the device's own clock."""
        return None if self.device_samples is None else float(np.median(self.device_samples))


@dataclass(frozen=True)
class Energy:
    """NVML's energy of consecutive steps."""

    joules: float
    seconds: float
    steps: int
    joules_per_step: float
    mean_watts: float


@dataclass(frozen=True)
class Breakdown:
    """Seconds of the parts of one step, synchronised between the parts (median)."""

    forward: float
    backward: float
    update: float


@dataclass(frozen=True)
class Target:
    """Training from the initial weights until a test accuracy is reached.

    Attributes
    ----------
    accuracy : float
        The target accuracy, 0 to 1.
    reached : bool
        Whether it was reached within `epochs_allowed`.
    seconds : float
        Training time (loading, copy and steps; evaluation not counted) up to the end.
    epochs : int
        Epochs run.
    epochs_allowed : int
        The limit.
    curve : list of float
        Test accuracy after each epoch.
    """

    accuracy: float
    reached: bool
    seconds: float
    epochs: int
    epochs_allowed: int
    curve: list[float]


@dataclass(frozen=True)
class TrainingResult:
    """Measurements of one contestant in one training workload.

    Attributes
    ----------
    build_s : float
        Making the model and loading the common initial weights.
    first_step_s : float
        The first training step, including compilation, context and plans; it counts nowhere else.
    warmup_s : list of float
        Every step of the warm-up, the first included.
    compute : Timing
        Steps whose batch is already on the device.
    end_to_end : Timing
        Steps that load their batch from host memory and copy it to the device.
    losses : list of float
        The loss of every step in order: warm-up, compute-only, end-to-end.
    memory_before_bytes, memory_peak_bytes : int or None
        Memory in use before the model was made, and the most in use during the compute-only steps
        (version 1: during the warm-up): the process's on the host, the pool's on a GPU.
    flops : float
        Rate of the compute-only steps by the workload's nominal operation count.
    peak_share : float or None
        `flops` as a share of the contestant's own measured matmul peak.
    """

    contestant: str
    build_s: float
    first_step_s: float
    warmup_s: list[float]
    compute: Timing
    end_to_end: Timing
    losses: list[float]
    memory_before_bytes: int | None
    memory_peak_bytes: int | None
    flops: float
    peak_share: float | None
    breakdown: Breakdown | None = None
    energy: Energy | None = None
    target: Target | None = None
