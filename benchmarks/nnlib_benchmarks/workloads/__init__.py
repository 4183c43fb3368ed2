"""What is measured: training workloads by name, and single operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nnlib.errors import OptionError
from nnlib_benchmarks.workloads import lenet, mlp, mlp_mnist, vgg16
from nnlib_benchmarks.workloads.base import Workload

TRAINING: dict[str, Callable[[bool, int], Workload]] = {
    "mlp": mlp.workload,
    "lenet": lenet.workload,
    "vgg16": vgg16.workload,
    "mlp-mnist": mlp_mnist.workload,
}
"""Name → function of (quick, seed) that makes the workload."""

OPERATIONS = "ops"
DEFAULT = ("mlp", "lenet", "vgg16", OPERATIONS)
NAMES = (*TRAINING, OPERATIONS)


def check_workloads(names: Sequence[str]) -> None:
    """Refuse names that are none.

    Raises
    ------
    OptionError
        With the known names.
    """
    for name in names:
        if name not in NAMES:
            raise OptionError(
                f"a workload must be one of {', '.join(map(repr, NAMES))}. Received: {name!r}"
            )
