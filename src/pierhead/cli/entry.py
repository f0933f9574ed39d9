"""What the entry point does: runs a command, and says what a user can mend in one line and the next step."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

import click

from pierhead.errors import UsageError

UNHEARD = 128 + signal.SIGPIPE
"""The exit code of a command whose output nobody reads to its end, as shells have it."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a command meets that prints into a file."""


def run() -> None:
    """Runs the command that the process was given.

    Raises:
        KeyboardInterrupt: it was Ctrl-C that ended it.
        SystemExit: anything else did.
    """
    _open_standard_streams()
    output = sys.stdout
    try:
        from pierhead.cli.commands import commands

        commands.main(prog_name="pierhead", standalone_mode=False)
    except UsageError as error:
        _fail(str(error), error.hint)
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        _fail(error.format_message(), f"see: {context.command_path if context else 'pierhead'} --help")
    except click.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit:
        if sys.stdout is not output:  # click has met a broken pipe, and taken it for a failure
            _end_unheard()
        raise
    except BrokenPipeError:
        _end_unheard()
    except FileNotFoundError as error:
        if error.filename is not None:
            raise
        _fail("the directory that this shell is in was removed", "go to one that is there: cd")
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


def _end_unheard() -> NoReturn:
    """Who has read enough, as ``head`` does, needs no word about it."""
    _give_output_up()
    sys.exit(UNHEARD)


def _give_output_up() -> None:
    """The interpreter would try it once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, hint: str) -> NoReturn:
    with suppress(BrokenPipeError):
        click.echo(f"pierhead: {message}", err=True)
        if hint:
            click.echo(f"  {hint}", err=True)
    sys.exit(1)
