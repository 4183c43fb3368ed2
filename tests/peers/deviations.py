"""Where nnlib differs from PyTorch by design, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEVIATIONS", "Deviation", "unused"]

INTEGERS = ("int64", "int32", "uint8", "bool")
EVERY = ("float32", "float64", *INTEGERS)


@dataclass
class Deviation:
    """One difference.

    Attributes
    ----------
    operators : tuple of str
        PyTorch's names.
    dtypes : tuple of str
    finding : str
        A part of the text that describes the difference.
    reason : str
    uses : int
        For how many samples it was the reason.
    """

    operators: tuple[str, ...]
    dtypes: tuple[str, ...]
    finding: str
    reason: str
    uses: int = 0


DEVIATIONS = [
    Deviation(
        tuple(
            f"nn.functional.{name}"
            for name in ("linear", "conv1d", "conv2d", "max_pool2d", "avg_pool2d")
        ),
        INTEGERS,
        "needs floating-point values",
        "layers take floating-point numbers: integers there are pixels that were not converted",
    ),
    Deviation(
        ("nn.functional.hardtanh",),
        INTEGERS,
        "value: ",
        "limits that are fractions make fractions of integers; PyTorch rounds the limits",
    ),
    Deviation(
        ("add", "sub", "rsub"),
        ("uint8",),
        "out of bounds for uint8",
        "as in NumPy 2, a Python integer must fit into the array's dtype; PyTorch wraps it around",
    ),
    Deviation(
        ("__rpow__",),
        INTEGERS,
        "Integers to negative integer powers",
        "as in NumPy, no integer is the result; PyTorch returns 0",
    ),
    Deviation(
        ("masked_fill",),
        ("bool",),
        "value: 10.0 instead of 1.0",
        "as in NumPy, where() of booleans and integers gives integers",
    ),
    Deviation(
        ("arange",),
        INTEGERS,
        "value: ",
        "as in NumPy, limits are rounded after the numbers are counted",
    ),
    Deviation(
        ("arange",),
        ("uint8",),
        "out of bounds for uint8",
        "as in NumPy 2, a Python integer must fit into the array's dtype",
    ),
    Deviation(
        ("sign",),
        ("bool",),
        "did not contain a loop",
        "as in NumPy, booleans have no sign",
    ),
    Deviation(
        ("nn.CrossEntropyLoss",),
        ("float32", "float64"),
        "value: 0.0 instead of nan",
        "where every label is ignored the loss is 0: such a batch shall not spoil a training",
    ),
    Deviation(
        ("nn.BatchNorm1d", "nn.BatchNorm2d"),
        ("float32", "float64"),
        "needs more than one value per channel",
        "statistics of an empty batch would make the running ones NaN for ever",
    ),
    Deviation(
        ("nn.functional.scaled_dot_product_attention",),
        ("float32", "float64"),
        "is_causal needs as many keys as queries",
        "it is not said which query goes with the last key; PyTorch takes the first ones together",
    ),
    Deviation(
        ("linspace",),
        EVERY,
        "value: ",
        "as in NumPy, integers are rounded down; PyTorch rounds towards zero",
    ),
    Deviation(
        ("nn.functional.hardsigmoid",),
        ("float64",),
        "gradient: ",
        "PyTorch's slope is the sixth of float32",
    ),
]  # fmt: skip


def reason_for(operator: str, dtype: str, finding: str) -> str:
    """Return why this difference is meant, or nothing."""
    for deviation in DEVIATIONS:
        if (
            operator in deviation.operators
            and dtype in deviation.dtypes
            and deviation.finding in finding
        ):
            deviation.uses += 1
            return deviation.reason
    return ""


def unused(operator: str) -> list[str]:
    """Reasons that are listed for an operator and are none any more."""
    return [d.reason for d in DEVIATIONS if d.operators == (operator,) and not d.uses]
