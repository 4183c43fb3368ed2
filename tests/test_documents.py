"""Texts hold together: their links lead somewhere, and the design fits on three screens."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/doubles/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)


def anchors(path):
    """The names that GitHub gives to a text's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf8")):
        if "://" not in link:
            target, _, anchor = link.partition("#")
            file = (path.parent / target) if target else path
            assert file.exists(), link
            assert not anchor or anchor in anchors(file), link


def test_every_decision_is_listed_once_and_is_short():
    folder = ROOT / "docs" / "decisions"
    files = sorted(path.name for path in folder.glob("0*.md"))
    assert re.findall(r"\]\((0.*?\.md)\)", (folder / "README.md").read_text("utf8")) == files
    for name in files:
        text = (folder / name).read_text("utf8")
        assert re.findall("^#.*$", text, re.MULTILINE)[1:] == [
            "## Context", "## Decision", "## Consequences",
        ]  # fmt: skip
        assert text.count("\n") <= 25, name


def test_the_design_fits_on_three_screens():
    assert (ROOT / "docs" / "design.md").read_text("utf8").count("\n") <= 150
