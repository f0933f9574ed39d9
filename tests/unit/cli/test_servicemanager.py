"""The word that a service manager waits for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pierhead.cli import servicemanager


@pytest.mark.parametrize("abstract", [False, True])
def test_it_is_said_where_the_service_manager_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool
) -> None:
    name = f"pierhead-test/{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        servicemanager.tell_ready()
        assert manager.recv(100, socket.MSG_DONTWAIT) == b"READY=1"


@pytest.mark.parametrize("where", ["", "vsock:2:1234", "/nowhere/notify"])
def test_where_nobody_listens_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    servicemanager.tell_ready()
