"""What ``pierhead lab`` does: a region in seclusion, and the way in."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import NoReturn

import click

from pierhead.api.kinds import POD
from pierhead.cli import connection
from pierhead.cli import up as region_up
from pierhead.client.client import Client
from pierhead.errors import ApiError, KernelError, UsageError
from pierhead.node import fabric
from pierhead.region import directory, lab, machine, seclusion
from pierhead.region.listening import listen
from pierhead.region.placement import numbered
from pierhead.region.region import Ready, run_region
from pierhead.region.settings import Settings

RECORD = "lab"
"""A file of the data directory: the number of the lab's first process. It is locked while the lab runs."""
ZONES = "a,b,c"


def default() -> Path:
    """Beside the one of `up`, which is another region."""
    return directory.default().with_name("pierhead-lab")


def settings(
    data_dir: Path | None, nodes: int | None, zones: str | None, listen: str, *, allow_root_pods: bool
) -> Settings:
    """Raises: UsageError: an option cannot be followed."""
    host, port = region_up.parse_listen(listen)
    where = (data_dir or default()).absolute()
    return Settings(where, host, port, lab.network(), zones=spread(nodes, zones), root_pods=allow_root_pods)


def spread(nodes: int | None, zones: str | None) -> tuple[str, ...]:
    """The zone of each node.

    Raises:
        UsageError: no such number of nodes, fewer than zones, or no such zones.
    """
    given = region_up.choose_zones(None, zones or ZONES, "namespace")
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
    opened = listen(settings.host, settings.port)  # before we leave the network in which it is to be found
    first = seclusion.seclude()
    with ExitStack() as stack:

        def told(ready: Ready) -> list[str]:
            stack.enter_context(_recorded(settings.data_dir, first))
            return greeting(settings, ready, time.clock_gettime(time.CLOCK_BOOTTIME) - began)

        region_up.serve(partial(run_region, settings, lay=lab.laid, opened=opened), told)


def greeting(settings: Settings, ready: Ready, seconds: float) -> list[str]:
    nodes = ", ".join(f"{node.name} ({node.zone})" for node in numbered(settings.network, settings.zones))
    return [
        click.style(f"ready in {seconds:.2f} s", fg="green", bold=True),
        f"API         {ready.url}",
        f"kubeconfig  {ready.kubeconfig}",
        f"nodes       {nodes}",
        f"network     {region_up.served_ranges(settings.network, ready)}",
        f"outside     a host at {fabric.STRANGER}, which reaches floating IPs and node ports",
        "enter       pierhead lab exec NODE|POD|outside COMMAND",
        *region_up.for_a_shell(ready),
    ]


def directory_of(data_dir: Path | None) -> Path:
    """Where the lab is that is meant, if there is one."""
    beside = [path.parent for path in connection.named() if (path.parent / RECORD).exists()]
    return (data_dir or next(iter(beside), default())).absolute()


def execute(data_dir: Path, where: str, namespace: str, command: tuple[str, ...]) -> NoReturn:
    """Becomes the command, among the lab's processes.

    Raises:
        UsageError: no lab runs there, there is no such place in it, or no such command.
    """
    first = first_of(data_dir)
    file = lab.host_file(data_dir, where)
    if where not in _hosts(data_dir):
        file = _pod_file(data_dir, where.removeprefix("pod/"), namespace)
    try:
        seclusion.enter(first, file)
    except (KernelError, OSError) as error:
        raise UsageError(f"cannot enter {where}: {error}", "run this as the account that runs the lab") from error
    try:
        os.execvp(command[0], command)  # noqa: S606 - what is asked for takes our place
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}", "name a command of this machine") from error


def end(data_dir: Path) -> None:
    """Tells a lab to end, and waits until it has.

    Raises:
        UsageError: no lab runs there, or it is somebody else's.
    """
    first = first_of(data_dir)
    try:
        process = os.pidfd_open(first)
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except OSError as error:
        raise UsageError(f"cannot end the lab: {error.strerror}", "run this as the account that runs it") from error
    select.select([process], [], [])


@contextmanager
def _recorded(data_dir: Path, first: int) -> Iterator[None]:
    with (data_dir / RECORD).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(f"{first}\n")
        file.flush()
        yield


def first_of(data_dir: Path) -> int:
    """The number of the first process of the lab that runs there.

    Raises:
        UsageError: none does, or this account may not know.
    """
    start = "start one with: pierhead lab up; one that runs elsewhere: --data-dir DIR"
    try:
        with (data_dir / RECORD).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int((data_dir / RECORD).read_text())
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"cannot read {data_dir}: {error.strerror}", "be the account that runs the lab") from error
    raise UsageError(f"no lab runs in {data_dir}", start)


def _hosts(data_dir: Path) -> list[str]:
    return sorted(path.name for path in lab.host_file(data_dir, "").iterdir())


def _pod_file(data_dir: Path, name: str, namespace: str) -> Path:
    """Raises: UsageError: there is no such pod, or it has no network now."""
    found: list[Path] = []

    async def ask(client: Client) -> None:
        try:
            pod = await client.get(POD, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            others = (await client.list(POD, namespace)).items
            names = ", ".join([*_hosts(data_dir), *(pod["metadata"]["name"] for pod in others)])
            raise UsageError(
                f'there is no node or pod "{name}"', f"in namespace {namespace} there are: {names}"
            ) from error
        found.append(lab.pod_file(data_dir, pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]))

    connection.run(data_dir / "kubeconfig", "pierhead-lab", ask)
    if not found[0].is_file():
        raise UsageError(f"pod {name} does not run", f"see: kubectl --namespace {namespace} get pod {name}")
    return found[0]
