"""What is measured: training workloads by name, and single operations."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.errors import OptionError
from nnlib_benchmarks.workloads import compare, lenet, mlp, mlp_mnist, sequences, vgg16
from nnlib_benchmarks.workloads.compare import MakeWorkload

TRAINING: dict[str, MakeWorkload] = {
    "mlp": mlp.workload,
    "lenet": lenet.workload,
    "vgg16": vgg16.workload,
    "mlp-mnist": mlp_mnist.workload,
    **compare.WORKLOADS,
    "lstm": sequences.lstm,
    "gpt": sequences.gpt,
}
"""Name → function of (quick, seed) that makes the workload."""

OPERATIONS, SCALING = "ops", "scaling"
DEFAULT = ("mlp", "lenet", "vgg16", OPERATIONS)
NAMES = (*TRAINING, OPERATIONS, SCALING)

GROUPS = {"compare": compare.COMPARE, "compare-odd": compare.COMPARE_ODD}
"""Name of a group → the workloads that it stands for."""


def expand(names: Sequence[str]) -> list[str]:
    """Put the members of a group in place of its name; each workload once.

    Raises
    ------
    OptionError
        For a name that is neither, with those that are.

    Examples
    --------
    >>> expand(["vgg16-b2", "compare"])[:3]
    ['vgg16-b2', 'mlp-tiny', 'mlp-digits']
    """
    for name in names:
        if name not in NAMES and name not in GROUPS:
            known = ", ".join(map(repr, (*NAMES, *GROUPS)))
            raise OptionError(f"a workload must be one of {known}. Received: {name!r}")
    members = (member for name in names for member in GROUPS.get(name, (name,)))
    return list(dict.fromkeys(members))
