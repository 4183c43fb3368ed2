"""docs/benchmarks.md must describe the JSON that is written."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from nnlib_benchmarks import records, workloads

TEXT = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf8")
CLASSES = [c for c in vars(records).values() if isinstance(c, type) and is_dataclass(c)]


@pytest.mark.parametrize("record", CLASSES, ids=lambda c: c.__name__)
def test_every_field_is_documented(record):
    found = re.search(rf"^\*\*{record.__name__}\*\*(.*?)(?=^\*\*|\Z)", TEXT, re.M | re.S)

    assert found, record.__name__
    documented = set(re.findall(r"`(\w+)`", found[1]))
    assert {field.name for field in fields(record)} <= documented


def test_every_workload_is_documented():
    for name in workloads.NAMES:
        assert f"`{name}`" in TEXT
