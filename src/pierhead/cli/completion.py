"""``pierhead completion``: click knows the commands and options, and the shells; the script only asks it at each TAB."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


def script(commands: click.Group, shell: str) -> str:
    """What a shell has to evaluate. ``shell``: one that click knows."""
    found = get_completion_class(shell)
    assert found is not None
    return found(commands, {}, "pierhead", "_PIERHEAD_COMPLETE").source()
