"""``python -m pierhead``: the command."""

from pierhead.cli import main

main()
