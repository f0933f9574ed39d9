"""Regions of one machine keep out of each other's ranges."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from ipaddress import IPv4Network, ip_network

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pierhead.api.network import Network
from pierhead.errors import UsageError
from pierhead.region import ranges, tenure

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw"))
PART, BESIDE = tenure.part(180 + WORKER), tenure.part(190 + WORKER)
"""Others for each worker."""
NETWORK = ranges.choose(
    "loopback", services=(PART.services,), pods=(PART.pods,), floating=(PART.floating, ip_network("192.0.2.7/32"))
)
HOLD = """
import sys
from ipaddress import ip_network
from pierhead.api.network import Network
from pierhead.region import tenure
with tenure.held(Network("loopback", (ip_network(sys.argv[1]),))):
    print("held", flush=True)
    sys.stdin.read()
"""


def inside(bits: int, length: int) -> IPv4Network:
    """A range of 127.N.0.0/16, by some 16 bits, of which those before the prefix's end count."""
    return IPv4Network((int(PART.services.network_address) + (bits >> (32 - length) << (32 - length)), length))


def having(*services: IPv4Network) -> Network:
    return Network("loopback", services)


def why_not(network: Network) -> tuple[str, str]:
    """Why another region has to keep out, and the next step."""
    with pytest.raises(UsageError) as caught, tenure.held(network):
        pass
    return str(caught.value), caught.value.hint


def test_a_range_of_another_region_is_refused_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ranges that it can have: neither those that are taken, nor those of somebody who followed the same advice."""
    with tenure.held(NETWORK):
        why, step = why_not(ranges.choose("loopback", services=(BESIDE.services,), pods=(PART.pods,)))
        assert why == f"another region on this machine has {PART.pods}"
        words = step.removeprefix("give this one ranges and a port of its own: ").split()
        assert words[::2] == ["--service-cidr", "--pod-cidr", "--floating-cidr", "--listen"]
        *options, listen = words[1::2]
        assert listen == "127.0.0.1:0"
        services, pods, floating = map(ip_network, options)
        with tenure.held(ranges.choose("loopback", services=(services,), pods=(pods,), floating=(floating,))):
            pass
        monkeypatch.setattr(tenure, "ADVISED", ())
        assert why_not(NETWORK)[1] == "end one that nobody needs"


@given(
    st.lists(st.builds(inside, st.integers(0, 2**16 - 1), st.integers(16, 32)), min_size=1, max_size=3),
    st.builds(inside, st.integers(0, 2**16 - 1), st.integers(16, 32)),
)
def test_ranges_that_overlap_are_refused_and_no_others(theirs: list[IPv4Network], mine: IPv4Network) -> None:
    theirs = [found for place, found in enumerate(theirs) if not any(map(found.overlaps, theirs[:place]))]
    overlapped = [found for found in theirs if found.overlaps(mine)]
    event("refused" if overlapped else "free")
    with tenure.held(having(*theirs)):
        if not overlapped:
            with tenure.held(having(mine)):
                return
        why, _ = why_not(having(mine))
        ending = {f"{found}" + (f", which overlaps {mine}" if found != mine else "") for found in overlapped}
        assert why.removeprefix("another region on this machine has ") in ending


def test_what_a_region_held_is_free_when_it_has_ended_or_was_refused() -> None:
    part, whole = having(PART.services), having(PART.floating, inside(0, 16))
    with tenure.held(part):
        why_not(whole)
        with tenure.held(having(PART.floating)):
            pass
    with tenure.held(whole):
        pass


def test_who_was_killed_holds_nothing() -> None:
    command = [sys.executable, "-c", HOLD, str(PART.services)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert why_not(NETWORK)[0] == f"another region on this machine has {PART.services}"
        holder.kill()
    with tenure.held(NETWORK):
        pass


def test_names_that_are_no_ranges_hold_nothing() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"\0{tenure.NAMES}{PART.services} of mine \udcff")
        with tenure.held(NETWORK):
            pass


def test_parts_that_are_free_are_given_out_and_never_twice() -> None:
    with tenure.spare() as one, tenure.spare() as other:
        assert not any(mine.overlaps(theirs) for mine in one for theirs in other)
        assert ranges.choose("loopback", services=one[:1], pods=one[1:2], floating=one[2:]).pod_ranges == (one.pods,)


def test_a_part_of_which_somebody_has_a_piece_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "PARTS", (180 + WORKER, 190 + WORKER))
    with tenure.held(having(inside(77, 32))), tenure.spare() as found:
        assert found == BESIDE


def test_when_every_part_is_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenure, "PARTS", range(0))
    with pytest.raises(UsageError, match="took what was free"), tenure.spare():
        pass
