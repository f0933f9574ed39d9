"""The same story on a terminal and into a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

STORY = """
from collections import Counter
from pierhead.cli.narration import Narrator
tell = Narrator()
tell.step("three backends")
tell.progress("1 of 3 is ready")
tell.settle()
tell.spread(Counter(a=2, b=1))
tell.end("done", good=True)
"""


def told(stdout: int) -> None:
    subprocess.run([sys.executable, "-c", STORY], stdout=stdout, check=True, timeout=20)


def read(descriptor: int) -> str:
    """All that was written until its last writer has gone, which a terminal says by an error."""
    found = b""
    try:
        while chunk := os.read(descriptor, 4096):
            found += chunk
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return found.decode()


def test_a_pipe_gets_plain_lines_and_nothing_that_is_replaced() -> None:
    reader, writer = os.pipe()
    told(writer)
    os.close(writer)
    text = read(reader)
    assert "\x1b" not in text
    assert "\r" not in text
    assert [line.split()[-1] for line in text.splitlines()] == ["backends", "█" * 40, "█" * 20, "done"]


def test_a_terminal_gets_colour_and_progress() -> None:
    reader, terminal = pty.openpty()
    told(terminal)
    os.close(terminal)
    text = read(reader)
    assert "1 of 3 is ready" in text
    assert "\x1b[32m" in text
    assert text.count("\r\x1b[2K") == 2
