"""Where the rules of a node cannot be read: what failed, and what to do next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from pierhead.api.network import Network
from pierhead.cli import vantage
from pierhead.cli.packets import Seen
from pierhead.dataplane.netlink import refusal
from pierhead.errors import GenerationPassed, KernelError
from pierhead.forwarding.place import Place
from pierhead.node.netns import NetworkNamespace
from pierhead.region import lab, labdirectory, seclusion
from pierhead.wire.netlink import Protocol

LAB = lab.network((4,))
ALONE = replace(LAB, machine_address="10.97.0.1", node_address="10.97.0.2")
ELSEWHERE = "the region does not run in {}, or not on this machine: ask there, with the kubeconfig that `up` wrote"
ORDINARY = "only root may, or whoever runs the lab: sudo pierhead trace --kubeconfig FILE …"
BUSY = "table ip pierhead: others change it all the time: ask again in a moment"


def unread(network: Network, data_dir: Path) -> str:
    found = vantage.kernel(
        Seen(network, [], [], [], [], [], [], []), Place(frozenset(("node-1",)), network), 4, data_dir
    )
    assert found.rules is None
    return found.unread


@pytest.mark.parametrize("network", [ALONE, LAB], ids=["machine", "lab"])
def test_beside_a_kubeconfig_that_was_copied_no_region_is_found(network: Network, tmp_path: Path) -> None:
    assert unread(network, tmp_path) == ELSEWHERE.format(tmp_path)


def test_who_sees_other_mounts_finds_a_file_that_keeps_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "node").touch()
    assert unread(ALONE, tmp_path) == ELSEWHERE.format(tmp_path)


@pytest.mark.parametrize(
    ("error", "user", "said"),
    [
        (refusal(errno.EPERM, "network namespace node"), 1000, ORDINARY),
        (PermissionError(errno.EACCES, "Permission denied"), 1000, ORDINARY),
        (refusal(errno.EPERM, "network namespace node"), 0, "this root may not (network namespace node: Operation not permitted): ask from where the region was started"),
        (GenerationPassed(errno.ERESTART, "table ip pierhead", "others change it all the time"), 1000, BUSY),
    ],
)  # fmt: skip
def test_what_failed_is_said_with_the_next_step(
    error: KernelError | OSError, user: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: NetworkNamespace, protocol: Protocol) -> None:
        raise error

    monkeypatch.setattr(NetworkNamespace, "open", fail)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert unread(ALONE, tmp_path) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal(errno.EPERM, "the lab"), ORDINARY),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), ELSEWHERE),
        (OSError(errno.EMFILE, "Too many open files"), "the way to node-1: Too many open files: ask again in a moment"),
    ],
)
def test_whoever_does_not_come_into_a_lab_brings_back_why(
    error: KernelError | OSError, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(first: int, network: Path) -> None:
        raise error

    monkeypatch.setattr(seclusion, "enter", fail)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with labdirectory.recorded(tmp_path, os.getpid()):
        assert unread(LAB, tmp_path) == said.format(tmp_path)
