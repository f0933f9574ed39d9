"""Whether pods may have an account of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pierhead.node.host import is_root


@pytest.mark.parametrize(
    ("accounts", "others"), [("0 0 4294967295", True), ("0 1000 1", False), ("0 1000 1\n1 100000 65536", True)]
)
def test_only_where_there_are_other_accounts(tmp_path: Path, accounts: str, others: bool) -> None:
    (tmp_path / "uid_map").write_text(f"{accounts}\n")
    assert is_root(tmp_path / "uid_map") == (others and os.geteuid() == 0)
