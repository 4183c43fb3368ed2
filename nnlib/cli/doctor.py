"""``nnlib doctor``: checks of the installation, with remedies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict

import click

from nnlib.cli import CHECK_FAILED
from nnlib.cli.checks import CHECKS, Check, Finding

MARKS = {
    "ok": ("ok", "green"),
    "note": ("note", "blue"),
    "warning": ("WARN", "yellow"),
    "fail": ("FAIL", "red"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check that nnlib works here, and show how to fix what does not.

    The exit code is 3 if a check fails. Warnings and notes do not count.
    """
    findings = []
    for check in CHECKS:
        for finding in examine(check):
            findings.append(finding)
            if not as_json:
                _show(finding)
    counts: Counter[str] = Counter(finding.status for finding in findings)
    if as_json:
        report = {
            "ok": not counts["fail"],
            "counts": {status: counts[status] for status in MARKS},
            "checks": [asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo(", ".join(f"{counts[status]} {status}" for status in MARKS if counts[status]))
    if counts["fail"]:
        ctx.exit(CHECK_FAILED)


def examine(check: Check) -> Iterator[Finding]:
    """Run a check; an exception in it is a finding too."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - doctor reports every error
        title = (check.__doc__ or check.__name__).partition(".")[0]
        yield Finding(
            title,
            "fail",
            f"{type(error).__name__}: {error}",
            "report it with the output of `nnlib info`, if the text does not tell what to do",
        )


def _show(finding: Finding) -> None:
    word, colour = MARKS[finding.status]
    click.echo(f"{click.style(f'{word:>4}', fg=colour)}  {finding.name}: {finding.detail}")
    if finding.remedy:
        click.echo(f"      remedy: {finding.remedy}")
