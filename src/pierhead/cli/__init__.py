"""The command line: thin commands over ``region``. kubectl is the client; no verb of its is written again.

Law: a command prints what it did and exits 0, or one clear line and the next step and exits 1; never a traceback for what a
user can mend. Modules that start slowly are imported by the command that needs them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from pierhead.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point ``pierhead``."""
    from pierhead.cli.commands import commands

    try:
        commands.main(
            args=list(arguments) if arguments is not None else None, prog_name="pierhead", standalone_mode=True
        )
    except UsageError as error:
        click.echo(f"pierhead: {error}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(1)
