"""``pierhead lab up``: a region in seclusion, from the first line to the last signal."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack, suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import click

from pierhead.cli import up as region_up
from pierhead.errors import UsageError
from pierhead.node import fabric
from pierhead.region import lab, labdirectory, machine, seclusion
from pierhead.region.listening import is_wildcard, listen
from pierhead.region.placement import numbered
from pierhead.region.region import Ready, run_region
from pierhead.region.settings import Settings

ZONES = "a,b,c"


def settings(
    data_dir: Path | None, nodes: int | None, zones: str | None, listen: str, *, allow_root_pods: bool
) -> Settings:
    """Raises: UsageError: an option cannot be followed."""
    host, port = region_up.parse_listen(listen)
    if is_wildcard(host):
        raise UsageError(
            "a lab's API listens at one address", "write one of this machine's, such as --listen 127.0.0.1:6443"
        )
    where = (data_dir or labdirectory.default()).absolute()
    network = lab.network((4, 6) if machine.has_ipv6() else (4,))
    return Settings(where, host, port, network, zones=spread(nodes, zones), root_pods=allow_root_pods)


def spread(nodes: int | None, zones: str | None) -> tuple[str, ...]:
    """The zone of each node.

    Raises:
        UsageError: no such number of nodes, fewer than zones, or no such zones.
    """
    given = region_up.choose_zones(None, ZONES if zones is None else zones, "namespace")
    count = len(given) if nodes is None else nodes
    if not 1 <= count <= fabric.MOST_NODES:
        raise UsageError(f"a lab has 1 to {fabric.MOST_NODES} nodes, not {count}", "pierhead lab up --nodes 3")
    if zones is not None and count < len(given):
        raise UsageError(f"--nodes {count} is too few for {len(given)} zones", f"--nodes {len(given)}, or fewer zones")
    return tuple(islice(cycle(given), count))


def run(settings: Settings) -> None:
    """Runs a lab until SIGINT or SIGTERM, then ends it; a second signal ends it at once.

    Raises:
        UsageError: it could not start.
        OSError: nobody can be told that it did, and it has ended.
    """
    began = time.clock_gettime(time.CLOCK_BOOTTIME) - machine.process_age()
    _refuse_second(settings.data_dir)
    opened = listen(settings.host, settings.port)  # before we leave the network in which it is to be found
    first = seclusion.seclude()
    with ExitStack() as stack:

        def told(ready: Ready) -> list[str]:
            stack.enter_context(labdirectory.recorded(settings.data_dir, first))
            return greeting(settings, ready, time.clock_gettime(time.CLOCK_BOOTTIME) - began)

        region_up.serve(partial(run_region, settings, lay=lab.laid, opened=opened), told)


def _refuse_second(data_dir: Path) -> None:
    """From inside one would know the number of the other by another name."""
    with suppress(OSError):
        if first := labdirectory.running(data_dir):
            raise UsageError(
                f"a lab runs in {data_dir}, process {first}",
                f"end it with: pierhead lab down --data-dir {shlex.quote(str(data_dir))}; or choose another --data-dir",
            )


def greeting(settings: Settings, ready: Ready, seconds: float) -> list[str]:
    nodes = ", ".join(f"{node.name} ({node.zone})" for node in numbered(settings.network, settings.zones))
    return [
        click.style(f"ready in {seconds:.2f} s", fg="green", bold=True),
        f"API         {ready.url}",
        f"kubeconfig  {ready.kubeconfig}",
        f"nodes       {nodes}",
        f"network     {region_up.served_ranges(settings.network, ready)}",
        f"outside     a host at {fabric.STRANGER[4]}, which reaches floating IPs and node ports",
        "enter       pierhead lab exec NODE|POD|outside COMMAND",
        *region_up.for_a_shell(ready),
    ]
