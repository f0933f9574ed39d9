"""The programs of these benchmarks that are written in C."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def compiled(name: str, *libraries: str) -> Path:
    """``NAME.c`` as a program; it is built again when its source changed."""
    source = Path(__file__).with_name(f"{name}.c")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    program = Path(tempfile.gettempdir()) / f"pierhead-{name}-{digest}"
    if not program.exists():
        fresh = program.with_suffix(".new")
        subprocess.run(["cc", "-O2", "-o", fresh, source, *libraries], check=True)
        fresh.rename(program)
    return program
