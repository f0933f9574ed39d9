"""A skip is a failure unless its reason stands in ``skips.txt``; chance is seeded where a run must say the same twice."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

ALLOWED = frozenset(
    line for line in (Path(__file__).parent / "skips.txt").read_text().splitlines() if not line.startswith("#")
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = (
            report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        )
        if reason not in ALLOWED:
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that is not in tests/skips.txt: {reason}"
    return report
