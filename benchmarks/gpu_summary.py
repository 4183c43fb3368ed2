"""The summary of gpu_check.sh: a short table, and summary.json beside the parts' own files."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BENCHES = ("bench", "claim", "compiled")  #: parts that run the harness

_TALLY = re.compile(r"\d+ (?:passed|failed|skipped|errors?)\b")


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """Name, exit code and seconds of each part, with a short extract of its log."""
    parts = []
    for line in (folder / "parts.tsv").read_text(encoding="utf8").splitlines():
        name, code, seconds = line.split("\t")
        text = (folder / f"{name}.log").read_text(encoding="utf8", errors="replace")
        parts.append(
            {
                "name": name,
                "exit_code": int(code),
                "seconds": int(seconds),
                "result": in_words(int(code), text),
            }
        )
    return parts


def in_words(code: int, text: str) -> str:
    r"""Describe how a part ended.

    Examples
    --------
    >>> in_words(1, "F.\n1 failed, 20 passed in 3s")
    '1 failed, 20 passed'
    >>> in_words(124, "a PASSED\n b FAILED\n"), in_words(0, "anything")
    ('ran out of time after 1 passed, 1 failed', 'done')
    >>> in_words(4, "a\nno CuPy\n")
    'exit code 4: no CuPy'
    """
    if code in (124, 137):
        counts = {word: text.count(f" {word.upper()}") for word in ("passed", "failed")}
        so_far = ", ".join(f"{n} {word}" for word, n in counts.items() if n)
        return f"ran out of time after {so_far}" if so_far else "ran out of time"
    lines = [line for line in text.splitlines() if line.strip()]
    tally = _TALLY.findall(lines[-1]) if lines else []
    if tally:
        return ", ".join(tally)
    return "done" if code == 0 else f"exit code {code}: {lines[-1][:80] if lines else ''}"


def read_bandwidth(folder: Path) -> dict[str, Any] | None:
    """Read the results of gpu_bandwidth.py, if it finished."""
    file = folder / "bandwidth.json"
    return json.loads(file.read_text(encoding="utf8")) if file.exists() else None


def square_rate(bandwidth: dict[str, Any] | None) -> float | None:
    """Rate of the largest square GEMM in bfloat16, if it was measured."""
    rows = [row for row in (bandwidth or {}).get("products", ()) if row["precision"] == "bf16"]
    return rows[0].get("flops_per_second") if rows else None


def bench_lines(file: Path, square: float | None) -> list[str]:
    """Format a run of the harness: a line for each workload.

    Parameters
    ----------
    file : Path
        Written by ``nnlib bench``.
    square : float, optional
        Rate of the largest square GEMM in bfloat16, to compute shares.
    """
    from nnlib_benchmarks.comparison import standing
    from nnlib_benchmarks.schema import load_run

    run = load_run(file)
    lines = [f"{file.parent.name}/{file.name}, first: {run.contestants[0].device}"]
    for training in run.training:
        ours, at = training.results[0], standing(run, training)
        words = [f"{training.precision:<5}{ours.compute.median * 1e3:10.4g} ms"]
        if training.units_per_step:
            rate = training.units_per_step / ours.compute.median
            words.append(f"{rate:10.4g} {training.unit}/s")
        if square and training.precision == "bf16":
            words.append(f"{ours.flops / square:4.0%} of the square product")
        if at.over_eager is not None:
            words.append(f"{at.over_eager:.3g}× over eager")
        if at.over_fastest is not None:
            words.append(f"{at.over_fastest:.3g}× over {at.fastest}")
        lines.append(f"  {training.workload:<18}" + "  ".join(words))
    lines += [f"  {p.contestant}: VGG-16 in {p.hours:.1f} h" for p in _projections(run)]
    return [*lines, *(f"  FAILED {failure[:150]}" for failure in run.failures)]


def _projections(run: Any) -> list[Any]:
    return run.claim.projections if run.claim is not None else []


def runs(folder: Path) -> list[Path]:
    """Find the files of the parts that ran the harness."""
    return sorted(file for part in BENCHES for file in (folder / part).glob("*.json"))


def table(
    parts: list[dict[str, Any]],
    bandwidth: dict[str, Any] | None,
    seconds: int,
    files: Sequence[Path] = (),
) -> str:
    """Format the whole summary."""
    lines = [f"{p['name']:<12}{p['seconds']:>5} s  {p['result']}" for p in parts]
    square = square_rate(bandwidth)
    for file in files:
        try:
            lines += bench_lines(file, square)
        except Exception as error:  # noqa: BLE001 - the other lines are still shown
            lines.append(f"{file.name}: {type(error).__name__}: {error}")
    if bandwidth is not None:
        shares = {row["name"]: row.get("share_of_copy") for row in bandwidth["kernels"]}
        good = sum(share is not None and share >= 0.8 for share in shares.values())
        lines.append(
            f"{bandwidth['device']['name']}: copies {bandwidth['copy_bytes_per_second'] / 1e9:.0f} "
            f"GB/s; {good} of {len(shares)} kernels reach 80 % of that"
        )
        slow = {name: share for name, share in shares.items() if share is None or share < 0.8}
        for name, share in sorted(slow.items(), key=lambda item: item[1] or 0)[:8]:
            lines.append(f"  {name:<32}" + ("failed" if share is None else f"{share:6.0%}"))
        failed = [row["name"] for row in bandwidth.get("products", ()) if "error" in row]
        lines += [f"  {name:<32}failed" for name in failed]
    lines.append(f"all together {seconds} s")
    return "\n".join(lines)


def main(folder: Path, seconds: int) -> int:
    """Print the table and write summary.json; 1 if a part failed."""
    parts, bandwidth, files = read_parts(folder), read_bandwidth(folder), runs(folder)
    names = [str(file.relative_to(folder)) for file in files]
    summary = {"seconds": seconds, "parts": parts, "bandwidth": bandwidth, "bench": names}
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf8")
    print(table(parts, bandwidth, seconds, files))
    return int(any(part["exit_code"] for part in parts))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
