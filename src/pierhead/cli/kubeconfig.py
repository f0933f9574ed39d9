"""``pierhead kubeconfig``."""

from __future__ import annotations

from pathlib import Path

from pierhead.errors import UsageError
from pierhead.region import directory


def read(data_dir: Path | None) -> str:
    """The kubeconfig that ``up`` wrote.

    Raises:
        UsageError: no region was started there, or this account may not read it.
    """
    path = (data_dir or directory.default()) / "kubeconfig"
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise UsageError(f"no region has written {path}", "start one with: pierhead up") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "run this as the account that runs `up`") from error
