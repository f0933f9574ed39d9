"""What is said where a lab's namespaces are refused. How it is to be inside: tests/e2e/test_lab.py."""

from __future__ import annotations

import pytest

from pierhead.region.seclusion import SWITCHES, remedy

OPEN = {name: opened for name, _, opened in SWITCHES}


@pytest.mark.parametrize(
    ("closed", "line"),
    [
        ({"kernel/unprivileged_userns_clone": "0"}, "sudo sysctl kernel.unprivileged_userns_clone=1"),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({"user/max_user_namespaces": "0"}, "sudo sysctl user.max_user_namespaces=10000"),
    ],
)
def test_a_switch_that_denies_them_is_named_with_the_line_that_does_not(closed: dict[str, str], line: str) -> None:
    assert line in remedy(OPEN | closed)


@pytest.mark.parametrize("settings", [OPEN, {}])
def test_where_no_switch_is_to_blame_it_is_the_account_or_the_container(settings: dict[str, str]) -> None:
    assert remedy(settings).startswith("be root; in a container")
