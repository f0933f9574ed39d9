"""Where a pod of a lab is: its API says on which node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pierhead.api.kinds import NAMESPACE, POD
from pierhead.cli import connection
from pierhead.client.client import Client
from pierhead.errors import UsageError
from pierhead.region import labdirectory


def find(data_dir: Path, where: str, namespace: str) -> Path:
    """The file that its network namespace is kept by. ``where``: its name, or ``pod/NAME``.

    Raises:
        UsageError: there is no such pod, or it has no network now.
    """
    found: list[Path] = []
    name = where.removeprefix("pod/")

    async def ask(client: Client) -> None:
        namespaces = [each["metadata"]["name"] for each in (await client.list(NAMESPACE)).items]
        if namespace not in namespaces:
            raise no_namespace(namespace, namespaces)
        pods = {each["metadata"]["name"]: each for each in (await client.list(POD, namespace)).items}
        if name not in pods:
            raise missing(where, namespace, [*pods], labdirectory.hosts(data_dir))
        pod = pods[name]
        found.append(labdirectory.pod_file(data_dir, pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]))

    connection.run(data_dir / "kubeconfig", "pierhead-lab", ask)
    if not found[0].is_file():
        raise UsageError(f"pod {name} does not run", f"see: kubectl --namespace {namespace} get pod {name}")
    return found[0]


def no_namespace(name: str, namespaces: Sequence[str]) -> UsageError:
    what = f"there is no namespace {name}" if name else "--namespace names none"
    return UsageError(what, f"leave it out, or write one of: {', '.join(namespaces)}")


def missing(where: str, namespace: str, pods: Sequence[str], hosts: Sequence[str]) -> UsageError:
    """What to say to who names a place that is none. Who says that he means a pod (``pod/NAME``) is told of pods alone."""
    if where.startswith("pod/"):
        there = f"there are: {', '.join(pods)}" if pods else "there is none"
        return UsageError(
            f'there is no pod "{where.removeprefix("pod/")}" in namespace {namespace}',
            f"{there}; nodes and the host outside are named without pod/",
        )
    return UsageError(
        f'there is no node or pod "{where}"', f"in namespace {namespace} there are: {', '.join([*hosts, *pods])}"
    )
