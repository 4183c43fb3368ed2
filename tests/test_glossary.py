"""Words that docs/glossary.md has replaced are gone from code, comments, documents and errors."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: regular expression → the word that stands for it now
GONE = {
    r"[Rr]ecording\b|[Rr]ecordings\b(?!\"| :|:|=)": "trace, program",  # a role of memory_summary
    r"\b[Rr]ecorders?\b": "tracer",
    r"\b(Variant|Dependencies|NativeKernel|PatchConvolution)\b": "see the glossary",
    r"\b(NumpyRecorder|NumpyRecording|GraphRecorder|GraphRecording)\b": "tracer, program",
    r"\brest[12]\b": "one_minus_beta1",
    r"\bneeds\[": "grads_out",
    r"(take|free|at)_home\b": "gradient buffer",
    r"\b[Mm]end(s|ed|ing)?\b": "fix",
    r"\b[Aa]s of `": "see",
    r"\b([Nn]o|[Ss]ome)body\b": "say what the code does",
    r"\b(take_apart|take_home|rate_of)\b": "flatten, gradient buffer, learning rate",
    r"\b(is|are|was|were|it) told\b": "say what the code does",
    r"\b(writes_gradients|skips_updates|into_targets|to_homes)\b": "KernelPair, GradOut",
}

FILES = [
    *(ROOT / "nnlib").rglob("*.py"),
    *(path for path in (ROOT / "backends").rglob("*") if path.suffix in (".py", ".cu", ".cuh")),
    *(ROOT / "benchmarks").rglob("*.py"),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


def table():
    """Return the rows of the glossary."""
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("| **")]


@pytest.mark.parametrize("gone", GONE)
def test_a_word_that_is_gone_stays_gone(gone):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        if path.name != "glossary.md"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(gone, line)
    ]
    assert not found, f"say {GONE[gone]!r}:\n" + "\n".join(found)


def test_the_glossary_has_at_most_30_words():
    assert 20 <= len(table()) <= 30
