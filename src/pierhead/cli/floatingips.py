"""What ``pierhead fip`` does: floating IPs asked for, looked at, named and given back, through the API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, TypeAlias

import click
import msgspec

from pierhead.api import Tree
from pierhead.api.kinds import FLOATING_IP
from pierhead.api.rules import address
from pierhead.api.views import FloatingIP
from pierhead.cli import connection
from pierhead.client.client import Client
from pierhead.errors import ApiError, UsageError, conflict

Output: TypeAlias = Literal["", "wide", "json", "ip"]

LIST = "those there are: pierhead fip get"
POOLS = "pools, and what they have left: kubectl get fippool"
USERS = "delete those Services first, or give them another spec.loadBalancerIP"
PENDING, NONE = "<pending>", "<none>"


def create(kubeconfig: Path | None, count: int, spec: Tree) -> None:
    """Allocates so many, or none; prints ``fip/ADDRESS`` for each. ``spec``: what each of them asks for.

    Raises:
        UsageError: they cannot be had.
    """
    if count > 1 and spec.get("address"):
        raise UsageError("--address names one floating IP, --count asks for several", "leave one of the two out")

    async def work(client: Client) -> None:
        made: list[Tree] = []
        try:
            async with AsyncExitStack() as undo:
                while len(made) < count:
                    fip = await client.create(FLOATING_IP, {"metadata": {}, "spec": spec})
                    undo.push_async_callback(
                        client.delete, FLOATING_IP, fip["metadata"]["name"], uid=fip["metadata"]["uid"]
                    )
                    made.append(fip)
                undo.pop_all()
        except ApiError as error:
            if error.code != 422:
                raise
            short = f" ({len(made)} of {count} could be had)" if count > 1 else ""
            raise UsageError(f"no floating IP was allocated{short}: {connection.why(error)}", POOLS) from error
        _echo(f"fip/{fip['status']['address']}" for fip in made)

    connection.run(kubeconfig, "pierhead-fip", work)


def get(kubeconfig: Path | None, addresses: Sequence[str], output: Output) -> None:
    """Shows those asked for, or all.

    Raises:
        UsageError: one of them is not there; the others are shown.
    """

    async def work(client: Client) -> None:
        every = await _all(client)
        found = [fip for text in addresses if (fip := _find(text, every))] if addresses else every
        missing = [text for text in addresses if _find(text, every) is None]
        if output == "json":
            click.echo(json.dumps([_shown(fip) for fip in found], indent=2))
        elif output == "ip":
            _echo(fip.status.address for fip in found if fip.status.address)
        elif found:
            _echo(_table(found, wide=output == "wide"))
        elif not missing:
            click.echo("No resources found.", err=True)
        if missing:
            raise UsageError(*_missing(missing, every))

    connection.run(kubeconfig, "pierhead-fip", work)


def name(kubeconfig: Path | None, text: str, remark: str) -> None:
    """Gives one a name, which is a remark: others may have the same.

    Raises:
        UsageError: the name is empty, or there is no such floating IP.
    """
    if not remark.strip():
        raise UsageError("a name cannot be empty", f"write it like this: pierhead fip name {text} shop")

    async def work(client: Client) -> None:
        there = await _all(client)
        fip = _find(text, there)
        if fip is None:
            raise UsageError(*_missing([text], there))
        await client.patch(FLOATING_IP, fip.metadata.name, {"spec": {"displayName": remark}})
        click.echo(f'fip/{text} named "{remark}"')

    connection.run(kubeconfig, "pierhead-fip", work)


def delete(kubeconfig: Path | None, addresses: Sequence[str], *, every: bool) -> None:
    """Releases each that can be; ``every``: all but those that belong to a Service and go with it.

    Raises:
        UsageError: one of them could not be released.
    """
    if every == bool(addresses):
        raise UsageError("name the floating IPs to delete, or all of them", "pierhead fip delete ADDRESS… | --all")

    async def work(client: Client) -> None:
        there = await _all(client)
        names = [_label(fip) for fip in there if not fip.spec.service] if every else addresses
        if not names:
            click.echo("No resources found.", err=True)
        failures = [why for text in names if (why := await _release(client, text, there))]
        if len(names) == len(failures) == 1:
            raise UsageError(*failures[0])
        for failure, _ in failures:
            click.echo(f"pierhead: {failure}", err=True)
        if failures:
            raise UsageError(f"{len(failures)} of {len(names)} were not deleted", failures[0][1])

    connection.run(kubeconfig, "pierhead-fip", work)


async def _release(client: Client, text: str, there: Sequence[FloatingIP]) -> tuple[str, str] | None:
    """None: it is gone; else why not, and the next step."""
    fip = _find(text, there)
    if fip is None:
        return _missing([text], there)
    try:
        await client.delete(FLOATING_IP, fip.metadata.name, uid=fip.metadata.uid)
    except ApiError as error:
        if error.code not in (404, 409):
            raise
        if error.code == 409:
            about = conflict(fip.metadata.name, FLOATING_IP.plural, FLOATING_IP.group, "").message
            return f"fip/{text} was not deleted: {error.message.removeprefix(about)}", USERS
    click.echo(f"fip/{text} deleted")
    return None


# -- looking -------------------------------------------------------------------------------------------------


async def _all(client: Client) -> list[FloatingIP]:
    found = (await client.list(FLOATING_IP)).items
    return sorted((msgspec.convert(tree, FloatingIP) for tree in found), key=_order)


def _order(fip: FloatingIP) -> tuple[int, int, str]:
    """By address, those that wait for one last."""
    found = address(fip.status.address)
    return (found.version, int(found), "") if found else (7, 0, fip.metadata.name)


def _find(text: str, every: Sequence[FloatingIP]) -> FloatingIP | None:
    """By its address, however that is written, or by the name of its object."""
    ip = str(address(text) or "")
    return next((fip for fip in every if fip.metadata.name == text or (ip and fip.status.address == ip)), None)


def _missing(texts: Sequence[str], every: Sequence[FloatingIP]) -> tuple[str, str]:
    """That there are none of these, and the next step. A name is a remark, which several may bear: nothing is done by it."""
    meant = [_label(fip) for fip in every if fip.spec.display_name in texts]
    step = f"a name is a remark; write the address: {' '.join(meant)}" if meant else LIST
    return f"there is no fip/{', fip/'.join(texts)}", step


def _label(fip: FloatingIP) -> str:
    return fip.status.address or fip.metadata.name


# -- showing -------------------------------------------------------------------------------------------------


def _services(fip: FloatingIP) -> list[str]:
    """Those that use it; one that belongs to a Service is that one's before it has an address."""
    owner = [fip.spec.service] if fip.spec.service else []
    return list(fip.status.services) or owner


def _shown(fip: FloatingIP) -> Tree:
    """As Pi's API shows one."""
    return {
        "fip": fip.status.address,
        "name": fip.spec.display_name,
        "createdAt": fip.metadata.creation_timestamp,
        "services": _services(fip),
    }


def _table(found: Sequence[FloatingIP], *, wide: bool) -> list[str]:
    rows = [["FIP", "NAME", "CREATED AT", "SERVICES", "POOL", "REGION", "OBJECT"]]
    for fip in found:
        services = ",".join(_services(fip)) or NONE
        created = fip.metadata.creation_timestamp or ""
        row = [fip.status.address or PENDING, fip.spec.display_name or NONE, created, services]
        rows.append([*row, fip.spec.pool, fip.status.region or NONE, fip.metadata.name])
    rows = rows if wide else [row[:4] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _echo(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
