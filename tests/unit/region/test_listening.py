"""The API's socket: where it is found, and under which names."""

from __future__ import annotations

import os
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.region import machine, ranges
from pierhead.region.listening import answering, listen, names, url
from pierhead.region.settings import Settings

FOUR = ranges.choose("loopback")
SIX = ranges.choose("none", services=ranges.parse("", "fd00:10:96::/112"))


@pytest.fixture(autouse=True)
def _two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    own = (ip_address("192.0.2.2"), ip_address("2001:db8::2"))
    monkeypatch.setattr(machine, "addresses", lambda: own)


def bound(host: str) -> socket.socket:
    """Bound, so that it has a port, and not listening: nobody can connect."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    found.bind((host, 0))
    return found


def test_an_address_is_where_the_api_is_found() -> None:
    with listen("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
        assert answering(found, FOUR) == [("127.0.0.1", port)]
        assert url("127.0.0.1", found) == f"https://127.0.0.1:{port}"


def test_behind_a_wildcard_others_are_told_an_address_of_the_machine() -> None:
    with bound("0.0.0.0") as found:
        port = found.getsockname()[1]
        assert answering(found, FOUR) == [(where, port) for where in ("192.0.2.2", "127.0.0.1", "0.0.0.0")]
        assert url("0.0.0.0", found) == f"https://127.0.0.1:{port}"


def test_in_namespaces_others_are_told_the_address_that_pods_can_reach() -> None:
    network = ranges.choose("namespace")
    for host in ("127.0.0.1", "0.0.0.0"):
        with bound(host) as found:
            assert answering(found, network)[0] == (network.machine_address, found.getsockname()[1])
    assert network.machine_address in names(Settings(Path("/d"), "127.0.0.1", 6443, network))


@pytest.mark.parametrize(("network", "first"), [(FOUR, "192.0.2.2"), (SIX, "2001:db8::2")], ids=["IPv4", "IPv6"])
def test_behind_the_wildcard_of_ipv6_both_families_answer(network: Network, first: str) -> None:
    with bound("::") as found:
        port = found.getsockname()[1]
        where = [address for address, _ in answering(found, network)]
        assert where[0] == first
        assert set(where) == {"192.0.2.2", "2001:db8::2", "127.0.0.1", "::1", "0.0.0.0", "::"}
        assert url("::", found) == f"https://[::1]:{port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_behind_a_wildcard_the_certificate_is_good_for_the_whole_machine(tmp_path: Path, host: str) -> None:
    wanted = names(Settings(tmp_path, host, 6443, ranges.choose("loopback")))
    assert {"127.0.0.1", "::1", "localhost", "192.0.2.2", "2001:db8::2", socket.gethostname().lower()} <= set(wanted)
    assert {"127.96.0.1", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"} <= set(wanted)
    assert host not in wanted


def test_an_address_of_somebody_else_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.77:0") as caught:
        listen("192.0.2.77", 0)
    assert "--listen" in caught.value.hint


@pytest.mark.parametrize(
    ("theirs", "ours"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("127.0.0.1", "0.0.0.0")]
)
def test_who_has_the_port_already_is_named(theirs: str, ours: str) -> None:
    with socket.create_server((theirs, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"process {os.getpid()} .* listens at {theirs}:{port}") as caught:
            listen(ours, port)
    assert str(caught.value).startswith(f"cannot listen on {ours}:{port}: Address already in use: ")
    assert "--listen" in caught.value.hint
