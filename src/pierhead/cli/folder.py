"""How a data directory is named on the command line."""

from __future__ import annotations

from typing import Any

import click

from pierhead.errors import UsageError


class Folder(click.Path):
    """A directory; an empty text, most often a variable that is not set, would be the one we are in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            raise UsageError("--data-dir names no directory", "write one: --data-dir DIR, or leave the option out")
        return super().convert(value, param, ctx)
