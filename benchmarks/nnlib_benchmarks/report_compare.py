"""A comparison of two runs, in words and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from nnlib_benchmarks import units
from nnlib_benchmarks.compare import Change, Comparison
from nnlib_benchmarks.report_text import render_tables
from nnlib_benchmarks.tables import Table


def comparison_json(comparison: Comparison) -> str:
    """Write a comparison as JSON."""
    return json.dumps(asdict(comparison), indent=1, ensure_ascii=False) + "\n"


def comparison_text(comparison: Comparison, width: int | None = None) -> str:
    """List the changes, slower measurements first."""
    tables = []
    titles = {
        "slower": "Slower",
        "faster": "Faster",
        "unsure": "Different medians, but too few or too scattered samples to call it",
    }
    for verdict, title in titles.items():
        changes = comparison.with_verdict(verdict)
        if changes:
            tables.append(_table(title, changes))
    text = "".join(f"{warning}\n" for warning in comparison.warnings)
    text += render_tables(tables, width)
    if comparison.machine_differences:
        text += "Different machines: " + "; ".join(comparison.machine_differences) + "\n"
    for difference in comparison.software_differences:
        text += f"Differs: {difference}\n"
    alone = (("first", comparison.only_before), ("second", comparison.only_after))
    for which, names in alone:
        if names:
            text += f"Only in the {which} run: {len(names)} measurements\n"
    return text + _summary(comparison) + "\n"


def _table(title: str, changes: Sequence[Change]) -> Table:
    rows = [
        [c.what, c.contestant, units.seconds(c.before), units.seconds(c.after),
         f"{c.ratio:.2f}×", f"{c.fast_ratio:.2f}×", f"{c.p:.2g}"]
        for c in changes
    ]  # fmt: skip
    return Table(title, ["", "on", "before", "after", "ratio", "of fastest", "p"], rows)


def _summary(comparison: Comparison) -> str:
    count = {v: len(comparison.with_verdict(v)) for v in ("slower", "faster", "same", "unsure")}
    return (
        f"{len(comparison.changes)} measurements in both runs: {count['slower']} slower, "
        f"{count['faster']} faster, {count['same']} the same, {count['unsure']} unsure."
    )
