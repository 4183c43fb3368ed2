"""Training workloads by name, and single operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nnlib.errors import OptionError
from nnlib_benchmarks.workloads import compare, gpu, lenet, mlp, mlp_mnist, sequences, vgg16
from nnlib_benchmarks.workloads.base import PRECISIONS, Workload
from nnlib_benchmarks.workloads.compare import MakeWorkload

TRAINING: dict[str, MakeWorkload] = {
    "mlp": mlp.workload,
    "lenet": lenet.workload,
    "vgg16": vgg16.workload,
    "mlp-mnist": mlp_mnist.workload,
    **compare.WORKLOADS,
    "lstm": sequences.lstm,
    "gpt": sequences.gpt,
    **gpu.WORKLOADS,
}
"""Name → function of (quick, seed) that makes the workload."""

OPERATIONS, SCALING = "ops", "scaling"
DEFAULT = ("mlp", "lenet", "vgg16", OPERATIONS)
NAMES = (*TRAINING, OPERATIONS, SCALING)

GROUPS = {
    "compare": compare.COMPARE,
    "compare-odd": compare.COMPARE_ODD,
    "compare-gpu": gpu.COMPARE_GPU,
}
"""Name of a group → the workloads that it stands for."""

AT = "@"  #: between a workload's name and its precision, if that is not fp32


def expand(names: Sequence[str], precisions: Sequence[str] = ("fp32",)) -> list[str]:
    """Replace the name of a group by its members; each workload once in a precision.

    Parameters
    ----------
    names : sequence of str
        Workloads and groups; a name may end in its precision: ``"vgg16-b64@bf16"``.
    precisions : sequence of str
        Of those without one.

    Raises
    ------
    OptionError
        For an unknown name or precision.

    Examples
    --------
    >>> expand(["vgg16-b2", "compare"])[:3]
    ['vgg16-b2', 'mlp-tiny', 'mlp-digits']
    >>> expand(["lstm", "gpt@bf16"], ["fp32", "tf32"])
    ['lstm', 'lstm@tf32', 'gpt@bf16']
    """
    for precision in precisions:
        _check_precision(precision)
    members = [member for name in names for member in GROUPS.get(name, (name,))]
    return list(dict.fromkeys(full for name in members for full in _named(name, precisions)))


def _named(name: str, precisions: Sequence[str]) -> list[str]:
    base, at, precision = name.partition(AT)
    if base not in NAMES or (at and base not in TRAINING):
        known = ", ".join(map(repr, (*NAMES, *GROUPS)))
        raise OptionError(f"a workload must be one of {known}. Received: {name!r}")
    if at:
        _check_precision(precision)
    if at or base not in TRAINING:
        return [base if precision == "fp32" else name]
    return [base if other == "fp32" else base + AT + other for other in precisions]


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        known = ", ".join(map(repr, PRECISIONS))
        raise OptionError(f"a precision must be one of {known}. Received: {precision!r}")


def make_workload(name: str, quick: bool, seed: int) -> Workload | None:
    """Make a training workload by its name from `expand`; ``None`` for other names.

    Examples
    --------
    >>> make_workload("mlp-tiny@tf32", quick=True, seed=0).precision
    'tf32'
    """
    base, _, precision = name.partition(AT)
    if base not in TRAINING:
        return None
    return replace(TRAINING[base](quick, seed), name=name, precision=precision or "fp32")
