"""The command line: thin commands over ``region``. kubectl is the client; no verb of its is written again.

Law: a command prints what it did and exits 0, or one clear line and the next step and exits 1; never a traceback for what a
user can mend. Modules that start slowly are imported by the command that needs them.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from pierhead.errors import UsageError

INTERRUPTED = 130
"""The exit code of a command that a signal ended before it was done, as shells have it."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a command meets that prints into a file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point ``pierhead``."""
    _open_standard_streams()
    try:
        from pierhead.cli.commands import commands

        commands.main(
            args=list(arguments) if arguments is not None else None, prog_name="pierhead", standalone_mode=False
        )
    except UsageError as error:
        _fail(str(error), error.hint)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        _fail(error.format_message(), f"see: {context.command_path if context else 'pierhead'} --help")
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # who has read enough, as `head` does, needs no word about it
        _give_output_up()
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        _give_output_up()
        _fail(f"cannot write to standard output: {error.strerror}", "make room, or let it go elsewhere")


def _open_standard_streams() -> None:
    """Of those that whoever started us has closed: the next file to be opened, a store perhaps, would be taken for one of them."""
    while (found := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(found)


def _give_output_up() -> None:
    """The interpreter would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, hint: str) -> None:
    click.echo(f"pierhead: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    sys.exit(1)
