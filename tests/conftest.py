"""A skip is a failure unless its reason stands in ``skips.txt``; chance is seeded where a run must say the same twice, and no
property fails because the machine was busy."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")

ALLOWED = frozenset(
    line for line in (Path(__file__).parent / "skips.txt").read_text().splitlines() if not line.startswith("#")
)


OWN = re.compile(r"\b(127\.(?:66|67|98|99))\.\d+\.")
"""What addresses begin with that are each process's own (``forwarded``)."""
KERNEL = "kernel tests: "
"""How the reasons begin for which tests of the real kernel cannot run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-kernel", action="store_true", help="fail where tests of the real kernel cannot run")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Addresses of this process are others in each process, and all of one run have to find the same tests."""
    return OWN.sub(r"\1.own.", val) if isinstance(val, str) and OWN.search(val) else None


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
        elif reason.startswith(KERNEL) and item.config.getoption("--require-kernel"):
            report.outcome = "failed"
            report.longrepr = f"--require-kernel: {reason}"
    return report
