"""The command line: thin commands over ``region``. kubectl is the client; no verb of its is written again.

Law: a command prints what it did and exits 0, or one clear line and the next step and exits 1; never a traceback for what a
user can mend. Modules that start slowly are imported by the command that needs them.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""The exit code of a command that a signal ended before it was done, as shells have it."""


def main() -> None:
    """The entry point ``pierhead``. Ctrl-C is no failure, also while the little is imported that every command needs."""
    try:
        from pierhead.cli.entry import run

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
