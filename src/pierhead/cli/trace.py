"""``pierhead trace``: its options."""

from __future__ import annotations

from pathlib import Path

import click

from pierhead.cli.fip import KUBECONFIG
from pierhead.cli.register import NAMESPACE


@click.command()
@click.argument("target", metavar="ADDRESS:PORT|svc/NAME:PORT")
@click.option(
    "--from",
    "origin",
    default="machine",
    show_default=True,
    metavar="POD|NODE|node|machine|outside|ADDRESS",
    help="Who sends it. machine: this one; outside: a host that is none of the region's; an address: the host that has it.",
)
@click.option("--udp", is_flag=True, help="A datagram; else the first packet of a TCP connection.")
@NAMESPACE
@KUBECONFIG
def trace(*, target: str, origin: str, udp: bool, namespace: str, kubeconfig: Path | None) -> None:
    """Show the way of a packet through Services and the kernel's rules, and which of them decides.

    No packet is sent. Exit code 1 where the nodes do something else than the Services ask for.
    """
    from pierhead.cli import packets, tracing

    tracing.run(kubeconfig, packets.Question(origin, target, namespace, "UDP" if udp else "TCP"))
