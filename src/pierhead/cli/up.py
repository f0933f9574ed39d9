"""``pierhead up``: a region in this process, from the first line to the last signal."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Literal

import click

from pierhead.errors import UsageError
from pierhead.region import machine
from pierhead.region.region import Ready, run_region
from pierhead.region.settings import Settings


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:6443`` or ``[::1]:6443``.

    Raises:
        UsageError: neither.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text} is not HOST:PORT", "write it like this: --listen 127.0.0.1:6443")
    return host.removeprefix("[").removesuffix("]"), int(port)


def choose_mode(asked: str) -> tuple[Literal["none", "loopback"], str]:
    """The network mode, and why."""
    if asked == "none":
        return "none", "as asked: the API and its controllers, no node, no traffic"
    if asked == "loopback":
        return "loopback", "as asked"
    return "loopback", "auto: needs no privileges and changes nothing on this machine"


def label(option: str, text: str) -> str:
    """A value that may stand in a label of a node.

    Raises:
        UsageError: it may not.
    """
    if not re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", text) or len(text) > 63:
        raise UsageError(f"{option} {text!r} cannot be a label value", "use letters, digits, '-', '_' and '.'")
    return text


def name(option: str, text: str) -> str:
    """The name of a node.

    Raises:
        UsageError: it may not be one.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text) or len(text) > 63:
        raise UsageError(f"{option} {text!r} cannot be a node's name", "use lower-case letters, digits, '-' and '.'")
    return text


def run(settings: Settings, *, why_network: str, why_proxy: str) -> None:
    """Runs the region until SIGINT or SIGTERM, then ends it; a second signal ends it at once.

    Raises:
        UsageError: it could not start.
    """
    import uvloop

    uvloop.run(_until_signalled(settings, why_network, why_proxy))


async def _until_signalled(settings: Settings, why_network: str, why_proxy: str) -> None:
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        if signalled or main is None:
            os._exit(1)
        signalled = True
        main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        await run_region(settings, lambda ready: _announce(settings, ready, why_network, why_proxy))
    except asyncio.CancelledError:
        if not signalled:
            raise


def _announce(settings: Settings, ready: Ready, why_network: str, why_proxy: str) -> None:
    """What scripts and people read first. The last two lines can be pasted into a shell."""
    network = settings.network
    click.echo(f"ready in {machine.process_age():.2f} s")
    click.echo(f"API         {ready.url}")
    click.echo(f"kubeconfig  {ready.kubeconfig}")
    click.echo(f"network     {network.mode} ({why_network}); Services {', '.join(map(str, network.service_ranges))}")
    if network.mode == "loopback":
        click.echo(
            f"proxy       userspace ({'as asked' if why_proxy == 'userspace' else 'the one that loopback can use'})"
        )
        lowest = machine.first_open_port()
        if lowest > 80:
            click.echo(f"ports       below {lowest} need: sysctl net.ipv4.ip_unprivileged_port_start=80")
    click.echo(f"export PATH={_commands()}:$PATH")
    click.echo(f"export KUBECONFIG={ready.kubeconfig}")


def _commands() -> Path:
    """The folder this command was called from: ``pierhead`` is there, and kubectl where the extra brought it."""
    found = shutil.which(sys.argv[0])
    return Path(found or sys.executable).absolute().parent
