import sys
from types import ModuleType

import pytest

from nnlib_benchmarks.energy import measure_energy


class NVMLError(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch):
    """A meter that counts 1500 mJ a step."""
    module = ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.millijoules, module.asked = 10_000, []
    module.nvmlInit = lambda: None

    def handle(how):
        def get(value):
            module.asked.append((how, value))
            return "device"

        return get

    module.nvmlDeviceGetHandleByUUID = handle("uuid")
    module.nvmlDeviceGetHandleByPciBusId = handle("pci")
    module.nvmlDeviceGetHandleByIndex = handle("index")
    module.nvmlDeviceGetTotalEnergyConsumption = lambda device: module.millijoules
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def measure(module, details):
    def step():
        module.millijoules += 1500

    return measure_energy(step, lambda: None, details, least_seconds=0.01)


def test_joules_a_step(nvml):
    energy = measure(nvml, {"uuid": "GPU-1"})

    assert energy.joules_per_step == pytest.approx(1.5)
    assert energy.joules == pytest.approx(1.5 * energy.steps)
    assert energy.mean_watts == pytest.approx(energy.joules / energy.seconds)


@pytest.mark.parametrize(
    ("details", "asked"),
    [
        ({"uuid": "GPU-1", "pci_bus_id": "0:1"}, ("uuid", "GPU-1")),
        ({"pci_bus_id": "0000:01:00.0"}, ("pci", "0000:01:00.0")),
        ({"device": 2}, ("index", 2)),
    ],
)
def test_the_right_gpu_is_asked(nvml, details, asked):
    measure(nvml, details)
    assert nvml.asked == [asked]


def test_no_meter_no_energy(nvml, monkeypatch):
    def old_gpu(device):
        raise NVMLError("not supported")

    nvml.nvmlDeviceGetTotalEnergyConsumption = old_gpu
    assert measure(nvml, {}) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert measure(nvml, {}) is None
