"""How a command tells a story: colour and a running line on a terminal, plain lines into a pipe."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click


class Narrator:
    """Prints steps with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._live = sys.stdout.isatty()

    def step(self, text: str) -> None:
        """What happens next."""
        click.secho(f"{time.monotonic() - self._start:5.1f} s  {text}", bold=True)

    def fact(self, text: str) -> None:
        """Something seen."""
        click.echo(f"         {text}")

    def progress(self, text: str) -> None:
        """A line that the next one replaces; only where somebody watches."""
        if self._live:
            click.secho(f"\r\x1b[2K         {text}", fg="cyan", nl=False)

    def settle(self) -> None:
        """Removes the running line."""
        if self._live:
            click.echo("\r\x1b[2K", nl=False)

    def spread(self, counts: Counter[str]) -> None:
        """How many answers came from whom."""
        for name, number in sorted(counts.items()):
            bar = "█" * max(1, round(40 * number / max(counts.values())))
            self.fact(f"{name:<22} {number:>5}  {click.style(bar, fg='green')}")

    def end(self, text: str, *, good: bool) -> None:
        click.secho(f"{time.monotonic() - self._start:5.1f} s  {text}", bold=True, fg="green" if good else "red")
