"""Whoever adds an operation adds a row to the table; then all tests of this folder cover it."""

import importlib
import pkgutil

import pytest
from ops.table import table

from nnlib import ops
from nnlib.ops.operation import Operation, fused_operations

MODULES = [f"nnlib.ops.{module.name}" for module in pkgutil.iter_modules(ops.__path__)]


def operations():
    """Every operation that a module of nnlib.ops defines, private ones included."""
    for module in map(importlib.import_module, MODULES):
        for value in vars(module).values():
            if isinstance(value, Operation) and value.__module__ == module.__name__:
                yield value


def test_every_operation_has_a_row():
    rows = {row.function for row in table()}
    missing = sorted(operation.name for operation in operations() if operation not in rows)
    assert not missing, f"add a row to tests/ops/table_*.py for {missing}"


def test_every_public_function_has_a_row():
    rows = {row.function for row in table()}
    missing = [name for name in ops.__all__ if getattr(ops, name) not in rows]
    assert not missing, f"add a row to tests/ops/table_*.py for {missing}"


def test_every_fused_operation_declares_samples():
    assert all(operation.samples for operation in fused_operations())


@pytest.mark.parametrize("row", table(), ids=lambda row: row.name)
def test_derivatives_are_declared_as_they_are(row):
    """A row with derivatives is about an operation with rules, and the other way round."""
    if isinstance(row.function, Operation) and hasattr(row.function, "rules"):
        assert bool(row.function.rules) == (row.derivatives > 0)
