"""What ``pierhead register`` and ``unregister`` do: external pods written and removed through the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from pierhead.api import Tree, external
from pierhead.api.kinds import NODE, POD
from pierhead.cli import connection, registrationfile
from pierhead.client.client import Client
from pierhead.core import registrations
from pierhead.core.registrations import Registration, Step, Wrong
from pierhead.errors import ApiError, UsageError

EXAMPLE = "pierhead register db-1 --ip 192.0.2.10 --port pg=5432 -l app=db"
LIST = "those there are: kubectl get pods -A -o wide"
PATIENCE = 10.0
"""Seconds for the node to let go of a pod whose ports or probe change."""
GLANCE = 1.0
"""Seconds for nodes to say what they have against it. They look at once, as a rule."""


# -- what was asked for --------------------------------------------------------------------------------------


def pairs(labels: Sequence[str]) -> dict[str, str]:
    """Raises:
    UsageError: one is not written ``key=value``.
    """
    for text in labels:
        if "=" not in text:
            raise UsageError(f'-l "{text}" is no label', "write it like this: -l app=db")
    return dict(text.split("=", 1) for text in labels)


def entries(fields: Mapping[str, Any], filename: Path | None, namespace: str) -> list[Registration]:
    """Raises:
    UsageError: what was given makes no sense; nothing was done.
    """
    if filename is not None:
        if fields:
            raise UsageError("-f takes everything from the file", "leave the name and the other options out")
        return registrationfile.read(filename, namespace)
    try:
        return [registrations.read(fields, namespace)]
    except Wrong as error:
        raise UsageError(str(error), EXAMPLE) from error


class Chosen(msgspec.Struct, frozen=True):
    """What to unregister: names, or a selector, or a file."""

    names: Sequence[str]
    selector: str
    filename: Path | None
    namespace: str


# -- register ------------------------------------------------------------------------------------------------


def register(kubeconfig: Path | None, wanted: Sequence[Registration]) -> None:
    """All of them, or none of those that were not there before; prints ``pod/NAME registered|renewed|changed|unchanged``, and on
    standard error a warning for each that will get no traffic, as far as that is known soon.

    Raises:
        UsageError: the server refused one; the text says what stands.
    """

    async def work(client: Client) -> None:
        steps = [await _decided(client, each) for each in wanted]
        done: list[tuple[Registration, Step]] = []
        try:
            for each, step in zip(wanted, steps, strict=True):
                await _do(client, each, step)
                done.append((each, step))
        except ApiError as error:
            failed, step = wanted[len(done)], steps[len(done)]
            standing = [await _take_back(client, done)]
            if step.replaces:
                standing.append(f"pod/{failed.name} as it was is gone")
            if error.code == 404:
                standing.append(f"kubectl create namespace {failed.namespace}")
            text = f"pod/{failed.name} was not registered: {connection.why(error)}"
            raise UsageError(text, "; ".join(standing)) from error
        for each, step in done:
            click.echo(f"pod/{each.name} {step.verdict}")
        async for name, reason in _misgivings(client, wanted):
            click.echo(f"Warning: pod/{name} gets no traffic: {reason}", err=True)

    connection.run(kubeconfig, "pierhead-register", work)


async def _decided(client: Client, found: Registration) -> Step:
    try:
        return registrations.step(found, await _there(client, found.name, found.namespace), time.time())
    except Wrong as error:
        raise UsageError(str(error), "nothing was registered") from error


async def _there(client: Client, name: str, namespace: str) -> Tree | None:
    try:
        return await client.get(POD, name, namespace)
    except ApiError as error:
        if error.code != 404:
            raise
        return None


async def _do(client: Client, found: Registration, step: Step) -> None:
    if step.replaces:
        await client.delete(POD, found.name, found.namespace, uid=step.replaces)
        await _gone(client, found, step.replaces)
    if step.create:
        await client.create(POD, step.create)
    elif step.patch:
        await client.patch(POD, found.name, step.patch, found.namespace)


async def _gone(client: Client, found: Registration, uid: str) -> None:
    """Its node takes it out of its Services first; without a node nobody else would remove it."""
    deadline = time.monotonic() + PATIENCE
    while (there := await _there(client, found.name, found.namespace)) and there["metadata"]["uid"] == uid:
        if time.monotonic() > deadline:
            await client.delete(POD, found.name, found.namespace, uid=uid, grace=0)
            return
        await asyncio.sleep(0.05)


async def _take_back(client: Client, done: Sequence[tuple[Registration, Step]]) -> str:
    """What was not there before goes again; a sentence about the rest."""
    kept: list[str] = []
    for each, step in done:
        try:
            if step.create and not step.replaces:
                await client.delete(POD, each.name, each.namespace)
            elif step.verdict != "unchanged":
                kept.append(f"pod/{each.name}")
        except ApiError:
            kept.append(f"pod/{each.name}")
    return f"written before that, and left so: {', '.join(kept)}" if kept else "nothing was registered"


async def _misgivings(client: Client, wanted: Sequence[Registration]) -> AsyncIterator[tuple[str, str]]:
    """The name of each that no Service can lead to, and why. Nodes are given a moment to look."""
    unattended = registrations.unattended(wanted, (await client.list(NODE)).items)
    deadline = time.monotonic() + GLANCE
    for each in wanted:
        if why := unattended.get(each.key) or await _refusal(client, each, deadline):
            yield each.name, why


async def _refusal(client: Client, found: Registration, deadline: float) -> str:
    """Empty: there is none, or it is not known in time."""
    while there := await _there(client, found.name, found.namespace):
        why = registrations.refusal(found, there)
        if why is not None or time.monotonic() > deadline:
            return why or ""
        await asyncio.sleep(0.02)
    return ""


# -- unregister ----------------------------------------------------------------------------------------------


def unregister(kubeconfig: Path | None, chosen: Chosen) -> None:
    """Raises:
    UsageError: one is not there, or is no external pod; the others are gone.
    """
    if sum(map(bool, (chosen.names, chosen.selector, chosen.filename))) != 1:
        raise UsageError("say what to unregister in one way", "pierhead unregister NAME… | -l selector | -f FILE")
    names = [(chosen.namespace, name.removeprefix("pod/")) for name in chosen.names]
    if chosen.filename:
        names = [each.key for each in registrationfile.read(chosen.filename, chosen.namespace)]

    async def work(client: Client) -> None:
        keys = names or await _selected(client, chosen)
        if not keys:
            click.echo("No resources found.", err=True)
        failures = [why for namespace, name in keys if (why := await _forget(client, name, namespace))]
        if failures:
            raise UsageError("; ".join(failures), LIST)

    connection.run(kubeconfig, "pierhead-register", work)


async def _selected(client: Client, chosen: Chosen) -> list[tuple[str, str]]:
    found = (await client.list(POD, chosen.namespace, labels=chosen.selector)).items
    return [(chosen.namespace, pod["metadata"]["name"]) for pod in found if _is_external(pod)]


async def _forget(client: Client, name: str, namespace: str) -> str:
    """Empty: it is going."""
    pod = await _there(client, name, namespace)
    if pod is None:
        return f'there is no pod/{name} in namespace "{namespace}"'
    if not _is_external(pod):
        return f"pod/{name} is no external pod: kubectl delete pod {name}"
    try:
        await client.delete(POD, name, namespace, uid=pod["metadata"]["uid"])
    except ApiError as error:
        if error.code != 404:  # who is gone already is unregistered too
            raise
    click.echo(f"pod/{name} unregistered")
    return ""


def _is_external(pod: Tree) -> bool:
    return bool(pod["spec"].get("runtimeClassName") == external.RUNTIME_CLASS)
