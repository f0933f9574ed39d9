"""A process that writes until it is killed: ``writer.py DIRECTORY NAME WRITERS COMMITS``.

Each acknowledged commit is one line on standard output, written at once: its key and its revisions.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from pierhead.store import Absent, Put
from pierhead.store.sqlite import SqliteStore


async def main(directory: Path, name: str, writers: int, commits: int) -> None:
    store = await SqliteStore.open(directory, lambda value, _: value)

    async def write(writer: int) -> None:
        for n in range(commits):
            key = f"objects/{name}-{writer}-{n}"
            pair = [Put(key, b"v" * 1000), Put(f"claims/{name}-{writer}-{n}", key.encode())]
            revisions = await store.commit(pair, [Absent(key)])
            os.write(1, f"{key} {' '.join(map(str, revisions))}\n".encode())

    async with asyncio.TaskGroup() as group:
        for writer in range(writers):
            group.create_task(write(writer))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
