"""The index of decisions: all of them, by their number and their title."""

from __future__ import annotations

import re

from running import ROOT

FOLDER = ROOT / "docs" / "decisions"
ENTRY = re.compile(r"^(\d+)\. \[(.+)\]\((\S+)\)$", re.MULTILINE)


def test_every_decision_stands_in_the_index_under_its_title() -> None:
    listed = [
        (f"# {number}. {title}", name) for number, title, name in ENTRY.findall((FOLDER / "README.md").read_text())
    ]
    found = sorted(FOLDER.glob("[0-9]*.md"))
    assert listed == [(page.read_text().partition("\n")[0], page.name) for page in found]
    assert [int(page.name[:4]) for page in found] == [*range(1, len(found) + 1)]
