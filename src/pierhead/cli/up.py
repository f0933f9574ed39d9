"""``pierhead up``: a region in this process, from the first line to the last signal."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from pierhead.api import addressranges
from pierhead.api.network import Mode, Network, Range
from pierhead.api.rules import dns1123_subdomain, label_value
from pierhead.cli import servicemanager
from pierhead.cli.signals import until_signalled
from pierhead.errors import UsageError
from pierhead.region import machine
from pierhead.region.region import Ready, run_region
from pierhead.region.settings import Settings
from pierhead.region.terrain import Unfit

DEFAULT_ZONES = ("local-a",)
PROXIES = {
    "loopback": ("userspace", "the one that loopback can use"),
    "namespace": ("nftables", "the kernel carries the traffic"),
}
"""What carries the traffic in a network mode, and why."""
SHOWN = 4
"""So many ranges of floating IPs stand in the greeting."""


def parse_listen(text: str) -> tuple[str, int]:
    """``127.0.0.1:6443`` or ``[::1]:6443``.

    Raises:
        UsageError: neither.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text} is not HOST:PORT", "write it like this: --listen 127.0.0.1:6443")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Choice(msgspec.Struct, frozen=True):
    """A network mode, and why it is this one."""

    mode: Mode
    why: str


LOOPBACK = Choice("loopback", "auto: needs no privileges and changes nothing on this machine")
NAMESPACE = Choice("namespace", "auto: root, so pods are in network namespaces, with one link to this machine")


def choose_network(
    asked: str, before: Mode | None = None, *, ranges: Sequence[Range] = (), proxy: str = "auto"
) -> list[Choice]:
    """The network modes to try, the best first. ``before``: that of the data directory, whose addresses are of it; ``ranges``: those
    asked for; ``proxy``: as asked.

    Raises:
        UsageError: there is no such mode.
    """
    match asked:
        case "none":
            return [Choice("none", "as asked: the API and its controllers, no node, no traffic")]
        case "loopback":
            return [Choice("loopback", "as asked")]
        case "namespace":
            return [Choice("namespace", "as asked: nodes and pods in network namespaces, one link to this machine")]
        case "auto" if before:
            return [Choice(before, "auto: as this data directory was before")]
        case "auto" if os.geteuid() or proxy == "userspace" or any(found.is_loopback for found in ranges):
            return [LOOPBACK]
        case "auto":
            return [NAMESPACE, LOOPBACK]
    raise UsageError(
        f"there is no --network {asked}",
        "write loopback (pods and traffic inside 127.0.0.0/8), namespace (root: in the kernel) or none (the API alone)",
    )


def choose_proxy(asked: str, network: Mode) -> str:
    """What carries the traffic of Services, and why.

    Raises:
        UsageError: there is no such proxy, or nothing for it to carry.
    """
    if network == "none":
        if asked != "auto":
            raise UsageError(f"--network none has no traffic for --proxy-mode {asked}", "leave one of the two out")
        return "none (--network none has no traffic)"
    mode, why = PROXIES[network]
    if asked not in ("auto", mode):
        raise UsageError(
            f"--network {network} has no --proxy-mode {asked}", f"leave it out, or write: --proxy-mode {mode}"
        )
    return f"{mode} (as asked)" if asked == mode else f"{mode} (auto: {why})"


def choose_egress(asked: bool, network: Mode) -> bool:
    """Whether pods need a way to the world.

    Raises:
        UsageError: they have it, or there are none.
    """
    if asked and network != "namespace":
        raise UsageError(
            f"--network {network} has no use for --egress",
            "leave it out: pods in mode loopback reach what this machine reaches",
        )
    return asked


def choose_zones(zone: str | None, zones: str | None, network: Mode) -> tuple[str, ...]:
    """The zones in which there is a node, in the order asked for.

    Raises:
        UsageError: both options at once, no nodes to be in zones, an empty or doubled zone, or one that no label can hold.
    """
    if zones is None:
        return (label("--zone", zone),) if zone is not None else DEFAULT_ZONES
    if zone is not None:
        raise UsageError("--zone is for one node, --zones for several", "leave one of the two out")
    if network == "none":
        raise UsageError("--network none has no nodes to be in --zones", "leave one of the two out")
    found = tuple(name("--zones", part.strip(), "zone") for part in zones.split(","))
    doubled = next((part for part in found if found.count(part) > 1), None)
    if doubled:
        raise UsageError(f"--zones {zones} names {doubled} twice", "name each zone once: --zones a,b,c")
    return found


def label(option: str, text: str) -> str:
    """A value that may stand in a label of a node.

    Raises:
        UsageError: it may not.
    """
    if not text or label_value(text):
        raise UsageError(f"{option} {text!r} cannot be a label value", "use letters, digits, '-', '_' and '.'")
    return text


def name(option: str, text: str, noun: str) -> str:
    """The name of a node, a zone or a region (the ``noun``): it stands in labels and in names of objects.

    Raises:
        UsageError: it may not be one.
    """
    if dns1123_subdomain(text) or label_value(text):
        raise UsageError(f"{option} {text!r} cannot be a {noun}'s name", "use lower-case letters, digits, '-' and '.'")
    return text


class Plan(msgspec.Struct, frozen=True):
    """A region that could be run here."""

    settings: Settings
    why_network: str
    why_proxy: str


def run(plan: Plan, *others: Plan) -> None:
    """Runs the first region that this machine can be the ground of.

    Raises:
        UsageError: there is none, or it could not start.
        OSError: nobody can be told that it did, and it has ended.
    """
    try:
        _run(plan)
    except Unfit as error:
        if not others:
            raise
        then, *rest = others
        run(replace(then, why_network=f"auto, not {plan.settings.network.mode}: {error}"), *rest)


def _run(plan: Plan) -> None:
    """Runs the region until SIGINT or SIGTERM, then ends it; a second signal ends it at once.

    Raises:
        UsageError: it could not start.
        OSError: nobody can be told that it did, and it has ended.
    """
    told = partial(greeting, plan.settings, why_network=plan.why_network, why_proxy=plan.why_proxy)
    serve(partial(run_region, plan.settings), told)


def serve(
    region: Callable[[Callable[[Ready], None]], Coroutine[Any, Any, None]], told: Callable[[Ready], list[str]]
) -> None:
    """As ``run``, of a region that calls what it is given when it is ready; ``told``: what is said then."""
    import uvloop

    from pierhead.dataplane.sockets import raise_descriptor_limit

    raise_descriptor_limit()  # the API grants more connections than the thousand files that a shell does
    unsaid: list[OSError] = []

    def greet(ready: Ready) -> None:
        try:
            _say(told(ready))
            servicemanager.tell_ready()
        except OSError as error:  # carried past the groups of tasks, which would wrap it
            unsaid.append(error)
            signal.raise_signal(signal.SIGTERM)

    uvloop.run(until_signalled(region(greet), again=lambda: os._exit(1)))
    if unsaid:
        raise unsaid[0]


def greeting(settings: Settings, ready: Ready, *, why_network: str, why_proxy: str) -> list[str]:
    """What scripts and people read first. The last two lines are for a shell."""
    network, lowest = settings.network, machine.first_open_port()
    lines = [
        click.style(f"ready in {machine.process_age():.2f} s", fg="green", bold=True),
        f"API         {ready.url}",
        f"kubeconfig  {ready.kubeconfig}",
        f"network     {network.mode} ({why_network}); {served_ranges(network, ready)}",
        f"proxy       {why_proxy}",
    ]
    if settings.egress:
        from pierhead.region.namespaced import link_of

        table = link_of(settings.data_dir)
        lines.append(f"egress      table {table} hides pods behind this machine's address until the region ends")
    if ready.floating.problem:
        lines.append(f"pool        {ready.floating.problem}")
    if network.mode == "loopback" and (absent := list(_absent(ready.floating.ranges))):
        lines.append(
            f"floating    this machine has no address of {', '.join(absent)}: Services there answer once it has: ip address"
        )
    if len(settings.zones) > 1:
        lines.append(f"nodes       one in each zone of {settings.region}: {', '.join(settings.zones)}")
    if network.mode == "loopback" and lowest > 80:
        lines.append(f"ports       below {lowest} need: sysctl net.ipv4.ip_unprivileged_port_start=80")
    if network.mode == "loopback" and os.geteuid() == 0 and (shut := _shut_to_nobody()):
        lines.append(
            f"pods        run as nobody, who may not enter {shut}: what they need has to lie elsewhere, as in /opt"
        )
    return [*lines, *for_a_shell(ready)]


def for_a_shell(ready: Ready) -> list[str]:
    """The last lines of a greeting."""
    return [
        "next        paste these two lines into a second shell; Ctrl-C here ends the region",
        f"export PATH={shlex.quote(str(_commands()))}:$PATH",
        f"export KUBECONFIG={shlex.quote(str(ready.kubeconfig))}",
    ]


def served_ranges(network: Network, ready: Ready) -> str:
    """Where the addresses of Services come from."""
    found = ready.floating.ranges
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    floating = f", floating IPs {', '.join(found[:SHOWN])}{more}" if found else ""
    return f"Services {', '.join(map(str, network.service_ranges))}{floating}"


def _absent(ranges: Sequence[str]) -> Iterator[str]:
    """Those of which this machine has nothing: what a proxy in userspace serves has to be an address of it."""
    own = machine.addresses()
    for text in ranges:
        found = addressranges.parse(text)
        if found and not found.ends[0].is_loopback and not any(address in found for address in own):
            yield text


def _shut_to_nobody() -> Path | None:
    """A folder that keeps pods from their commands, which begin in ours, or from the interpreter that runs us."""
    return machine.shut_folder(Path.cwd()) or machine.shut_folder(Path(sys.executable).resolve().parent)


def _say(lines: list[str]) -> None:
    """In one piece; a pipe gets no colour. Who has read enough, as ``head`` does, ends the pipe and not the region."""
    try:
        click.echo("\n".join(lines))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _commands() -> Path:
    """The folder this command was called from: ``pierhead`` is there, and kubectl where the extra brought it."""
    found = shutil.which(sys.argv[0])
    return Path(found or sys.executable).absolute().parent
