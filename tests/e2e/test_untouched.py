"""Loopback mode changes nothing of the machine: neither while a region runs nor after it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from e2e.backends import pod, service
from netns import ORDINARY, network_namespace
from running import PIERHEAD, running

LOOK = """
ip -o address; ip route show table all; ip -6 route show table all; ip rule; ip -6 rule; ip -o link | cut -d: -f2
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null
nft list ruleset && echo "those are the rules"
grep -rs . /proc/sys/net | grep -v /nf_conntrack_count: | sort
"""
"""Of the settings one counts connections."""


def seen(enter: Sequence[str]) -> list[str]:
    """Links, addresses, routes, rules of the firewall and settings of a network namespace."""
    path = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}
    done = subprocess.run([*enter, "sh", "-c", LOOK], env=path, capture_output=True, text=True, check=False)
    assert "127.0.0.1/8" in done.stdout
    assert "those are the rules" in done.stdout, done.stderr
    return done.stdout.splitlines()


def test_the_network_is_as_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with network_namespace(mapped=True) as enter:
        before = seen(enter)
        command = ["env", "--unset=XDG_STATE_HOME", f"HOME={home}", *ORDINARY, str(PIERHEAD)]
        with running(tmp_path / "d", "--network", "loopback", command=command, enter=enter) as region:
            region.kubectl("apply", "-f", "-", stdin=manifests())
            region.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
            assert seen(enter) == before
        assert seen(enter) == before
    assert not list(home.iterdir())


def manifests() -> str:
    front = service("s", [{"port": 8080, "targetPort": 9376}], {"app": "MyApp"}, type="NodePort")
    return "\n".join(map(json.dumps, (pod("p", 9376, {"app": "MyApp"}), front)))
