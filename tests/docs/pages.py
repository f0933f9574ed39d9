"""Pages of the documentation as programs: what they tell a reader to type is typed, what they show is what came.

A page is read from top to bottom. Of its fenced blocks

* ``console`` holds commands after ``$`` and what each prints, where ``…`` stands for anything. A command succeeds, unless what it
  prints is shown to be an error. ``pierhead up ARGS``, ``./dev up ARGS`` and ``pierhead lab up ARGS`` start the region that the rest of the
  page is about;
* ``yaml`` whose first line is ``# NAME.yaml`` is saved under this name, as the page asks its reader to;
* anything else is only to be read.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

from namespaces import allowed
from netns import ORDINARY, network_namespace
from running import PIERHEAD, ROOT, usable_by_pods

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n?", re.MULTILINE)
UP = re.compile(r"(?:\./dev|pierhead( lab)?) up\b(.*)")
FILE = re.compile(r"# (\S+\.yaml)\n")
OWN = re.compile(r"\b(?:192\.0\.2|127\.71)\.")
LAB = re.compile(r"^\$ pierhead lab up", re.MULTILINE)
LINKS = re.compile(r"^\$ pierhead up --network namespace", re.MULTILINE)
ERRORS = ("Error", "error:", "The ", "pierhead: ", "curl: ")
TOOLS = {"PATH": f"{PIERHEAD.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}
"""What the lines that ``up`` prints last make of PATH; ``./dev`` does the same for ``up`` itself."""
END = "-- that was all of it:"
PATIENCE = 60.0
"""Seconds for one command; generous, because the machine may be busy."""


@dataclass(frozen=True, slots=True)
class Command:
    """Something to type, and what it should print."""

    text: str
    output: str

    @property
    def up(self) -> list[str] | None:
        """The arguments, when this starts a region."""
        found = UP.fullmatch(self.text)
        return found[2].split() if found else None

    @property
    def lab(self) -> bool:
        """Whether this starts a lab."""
        found = UP.fullmatch(self.text)
        return found is not None and found[1] is not None

    @property
    def fails(self) -> bool:
        return any(line.startswith(ERRORS) for line in self.output.splitlines())

    def printed(self, actual: str) -> bool:
        """Whether an error begins with a capital differs between versions of kubectl."""
        pattern = ".*".join(re.escape(piece) for piece in self.output.strip().split("…"))
        flags = re.DOTALL | (re.IGNORECASE if self.fails else re.NOFLAG)
        return re.fullmatch(pattern, actual.strip(), flags) is not None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file that the reader is asked to save."""

    name: str
    text: str


Step: TypeAlias = Command | Manifest


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return BLOCK.findall(text)


def steps(text: str) -> Iterator[Step]:
    """What a reader does, in order."""
    for language, content in blocks(text):
        if language == "console":
            _, *parts = COMMAND.split(content)
            for command, output in zip(parts[::2], parts[1::2], strict=True):
                yield Command(command, output)
        elif language == "yaml" and (named := FILE.match(content)):
            yield Manifest(named[1], content)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a page is tried out."""

    enter: Sequence[str] = ()
    """What goes before a command that is to run there."""
    account: Sequence[str] = ()
    """What goes before a command that is to run there as its reader."""
    options: Sequence[str] = ()
    """What ``pierhead up`` needs there besides what the page gives it."""
    root_pods: bool = False
    """Whether pods have to run as root to find their interpreter: nobody may not enter this checkout."""


@contextmanager
def machine(page: str, ranges: Sequence[str]) -> Iterator[Machine]:
    """This one; or, for a page that counts on addresses of its own, one with nothing else on it that has 192.0.2.10 and 192.0.2.11
    besides; or, for a page of root's that makes links, one with nothing at all. ``ranges``: what keeps a region on this machine apart from others."""
    if LINKS.search(page):
        if os.geteuid() != 0:
            pytest.skip("needs root: a network namespace for the node")
        with network_namespace(mapped=False) as enter:
            yield Machine(enter, options=["--allow-root-pods"], root_pods=True)
        return
    if LAB.search(page):
        if not allowed(mapped=os.geteuid() != 0):
            pytest.skip("user namespaces are not allowed here")
        root = not usable_by_pods()
        yield Machine(options=["--allow-root-pods"] if root else (), root_pods=root)
        return
    if not OWN.search(page):
        root = not usable_by_pods()
        yield Machine(options=[*ranges, "--allow-root-pods"] if root else ranges, root_pods=root)
        return
    with network_namespace(mapped=True) as enter:
        subprocess.run([*enter, "ip", "address", "add", "192.0.2.10/31", "dev", "lo"], env=TOOLS, check=True)
        yield Machine(enter, ORDINARY)


class Folder:
    """What looks to a reader like a checkout, and may be entered by every account, as the README asks of one."""

    def __init__(self, path: Path, *, root_pods: bool) -> None:
        self.path = path
        self._root_pods = root_pods
        path.chmod(0o755)
        shutil.copytree(ROOT / "src" / "pierhead" / "examples", path / "examples")
        shutil.copytree(ROOT / "docs", path / "docs")
        for found in path.glob("examples/**/*.yaml"):
            found.write_text(self._runnable(found.read_text()))

    def save(self, manifest: Manifest) -> None:
        (self.path / manifest.name).write_text(self._runnable(manifest.text))

    def _runnable(self, manifest: str) -> str:
        account = r"\1securityContext: {runAsUser: 0}\n\g<0>"
        return re.sub(r"^( *)containers:$", account, manifest, flags=re.MULTILINE) if self._root_pods else manifest


class Shell:
    """One bash in which a reader types: variables and background jobs stay from one command to the next."""

    def __init__(self, enter: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [*enter, "bash"], cwd=folder, env={**os.environ, **TOOLS, **variables},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def type(self, command: str) -> tuple[int, str]:
        """Exit code and output."""
        assert self._process.stdin
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n%s %s\\n' '{END}' $?\n".encode())
        self._process.stdin.flush()
        output, _, code = self._read(command).rpartition(f"\n{END} ")
        return int(code), output.replace("\r", "")

    def _read(self, command: str) -> str:
        assert self._process.stdout
        found, deadline = b"", time.monotonic() + PATIENCE
        whole = re.compile(rb"\n" + re.escape(END.encode()) + rb" \d+\n$")
        while not whole.search(found):
            left = deadline - time.monotonic()
            assert left > 0, f"$ {command}\nnot done after {PATIENCE:.0f} s:\n{found.decode()}"
            if select.select([self._process.stdout], [], [], left)[0]:
                chunk = os.read(self._process.stdout.fileno(), 65536)
                assert chunk, f"$ {command}\nended the shell:\n{found.decode()}"
                found += chunk
        return found.decode()

    def close(self) -> None:
        """Ends it and what it left running."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
