"""Each promise names the tests that show it, or says that it is not kept yet; each named test is there and runs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest

from running import ROOT

ROW = re.compile(r"^\| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/\S+\.py)::(\w+)`")
HEADS = {("promise", "shown by")}
NEVER = {"skip", "xfail"}
ROWS = [row for row in ROW.findall((ROOT / "docs" / "promises.md").read_text()) if row not in HEADS]
TESTS = sorted({found for _, shown in ROWS for found in TEST.findall(shown)})


@pytest.mark.parametrize(("promise", "shown"), ROWS)
def test_a_promise_is_shown_or_not_kept_yet(promise: str, shown: str) -> None:
    assert shown == "not yet" or not TEST.sub("", shown).strip(), f"{promise}: {shown}"


def test_every_named_test_is_collected() -> None:
    found = [f"{path}::{name}" for path, name in TESTS]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *found]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=100, check=False)
    assert not done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_no_named_test_is_switched_off(path: str, name: str) -> None:
    """A test may be skipped where the machine lacks something, for a reason of the list; never for good."""
    tree = ast.parse((ROOT / path).read_text())
    (test,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    marks = {found.attr for mark in test.decorator_list for found in ast.walk(mark) if isinstance(found, ast.Attribute)}
    assert not marks & NEVER


def test_every_sentence_of_the_documentation_is_promised() -> None:
    seed = "tests/e2e/test_seed.py"
    tree = ast.parse((ROOT / seed).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
    assert tests == {name for path, name in TESTS if path == seed}
