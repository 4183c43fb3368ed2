"""Energy of a GPU, by NVML's counter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from nnlib_benchmarks.records import Energy

LEAST_SECONDS = 2.0  #: NVML updates its counter every 20–100 ms


def measure_energy(
    step: Callable[[], object],
    synchronize: Callable[[], None],
    details: dict[str, Any],
    least_seconds: float = LEAST_SECONDS,
) -> Energy | None:
    """Run consecutive steps for a while and read the energy counter before and after.

    Parameters
    ----------
    step : callable
        One training step.
    synchronize : callable
        Waits for the device.
    details : dict
        ``backend_info(...)["details"]``; ``"pci_bus_id"`` or ``"uuid"`` identifies the GPU.
    least_seconds : float
        Shortest duration.

    Returns
    -------
    Energy or None
        ``None`` where NVML, the device or its counter is missing (pynvml not installed, no NVIDIA
        driver, a GPU older than Volta).
    """
    meter = _meter(details)
    if meter is None:
        return None
    synchronize()
    before, begin = meter(), time.perf_counter()
    steps = 0
    while time.perf_counter() - begin < least_seconds:
        step()
        synchronize()
        steps += 1
    seconds = time.perf_counter() - begin
    joules = (meter() - before) / 1000
    return Energy(joules, seconds, steps, joules / steps, joules / seconds)


def _meter(details: dict[str, Any]) -> Callable[[], int] | None:
    """Return a function that reads millijoules since the driver was loaded, or ``None``."""
    try:
        import pynvml

        pynvml.nvmlInit()
        device = _device(pynvml, details)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    except Exception:  # noqa: BLE001 - `nnlib info` shows errors of NVML
        return None
    return lambda: int(pynvml.nvmlDeviceGetTotalEnergyConsumption(device))


def _device(pynvml: Any, details: dict[str, Any]) -> Any:
    # CUDA's numbering is not NVML's (CUDA_VISIBLE_DEVICES, order): ask by identity where known.
    if details.get("uuid"):
        return pynvml.nvmlDeviceGetHandleByUUID(str(details["uuid"]))
    if details.get("pci_bus_id"):
        return pynvml.nvmlDeviceGetHandleByPciBusId(str(details["pci_bus_id"]))
    return pynvml.nvmlDeviceGetHandleByIndex(int(details.get("device", 0)))
