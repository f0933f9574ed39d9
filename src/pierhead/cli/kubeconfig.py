"""``pierhead kubeconfig``."""

from __future__ import annotations

import shlex
from pathlib import Path

from pierhead.errors import UsageError
from pierhead.region import directory


def read(data_dir: Path | None) -> str:
    """The kubeconfig that ``up`` wrote. What ``$KUBECONFIG`` names is no business of this one: it may be another cluster's.

    Raises:
        UsageError: no region was started there, or this account may not read it.
    """
    path = (data_dir or directory.default()) / "kubeconfig"
    try:
        return path.read_text()
    except FileNotFoundError as error:
        start = "start one with: pierhead up"
        if data_dir:
            hint = f"{start} --data-dir {shlex.quote(str(data_dir))}"
        else:
            hint = f"{start}; one with a data directory of its own: pierhead kubeconfig --data-dir DIR"
        raise UsageError(f"no region has written {path}", hint) from error
    except OSError as error:
        step = directory.way_in(error, "run this as the account that runs `up`")
        raise UsageError(f"cannot read {path}: {error.strerror}", step) from error
