"""What a killed agent left behind: its pods' processes, known by a mark that is this data directory's alone.

``setpriv --pdeathsig KILL`` ends a container's first process together with the agent, but not its children. They carry the mark in
their environment, so the next agent on the same directory finds and ends them before it starts anything. Processes that
do not carry exactly this mark, or share a session with one that does, are never touched.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from pierhead.node import tree

VARIABLE = "PIERHEAD_REGION"


def mark(directory: Path) -> str:
    """The mark of a data directory, made at first use. It is random: two directories of the same path (on two disks, in two
    containers) are two regions."""
    path = directory / "mark"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = path.read_text()
    except FileNotFoundError:
        found = uuid.uuid4().hex
        temporary = path.with_name("mark.new")
        with temporary.open("w") as file:
            file.write(found)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    return found


async def end(mark: str, grace: float = 0.0) -> int:
    """Ends every process that carries the mark; returns how many there were."""
    return await tree.Trees().end(tree.Marks(frozenset({f"{VARIABLE}={mark}".encode()})), grace)
