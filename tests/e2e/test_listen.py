"""An API that listens on every address of its machine: found at each, by its Service and by its certificate."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.backends import eventually
from netns import network_namespace
from running import Region, running

MACHINE = (
    "ip link add wire type veth peer name end && ip link set end up && ip address add 192.0.2.5/24 dev wire"
    " && ip address add 2001:db8::5/64 dev wire nodad && ip link set wire up"
)


@contextmanager
def listening(data_dir: Path, host: str) -> Iterator[Region]:
    """A region on a machine with an address of each family besides its loopback ones."""
    with network_namespace(mapped=True) as enter:
        subprocess.run([*enter, "sh", "-c", MACHINE], check=True)
        with running(data_dir, "--network", "none", "--listen", f"{host}:0", enter=enter) as region:
            yield region


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", ("127.0.0.1", "192.0.2.5")), ("[::]", ("127.0.0.1", "192.0.2.5", "[::1]", "[2001:db8::5]"))],
)
def test_behind_a_wildcard_it_is_found_at_each_address(tmp_path: Path, host: str, reached: tuple[str, ...]) -> None:
    with listening(tmp_path / "d", host) as region:
        port = region.url.rpartition(":")[2]
        for address in reached:
            assert region.kubectl("--server", f"https://{address}:{port}", "get", "--raw", "/readyz") == "ok"

        def shown() -> str:
            fields = "-o=jsonpath={.endpoints[*].addresses[*]} {.ports[*].port}"
            return region.kubectl("get", "endpointslices/kubernetes", fields, check=False)

        assert re.fullmatch(rf"192\.0\.2\.5 {port}", eventually(shown, "the endpoint of the API"))
