"""Where a pod of a lab is: its API says on which node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pierhead.api.kinds import POD
from pierhead.cli import connection
from pierhead.client.client import Client
from pierhead.errors import ApiError, UsageError
from pierhead.region import labdirectory


def find(data_dir: Path, where: str, namespace: str) -> Path:
    """The file that its network namespace is kept by. ``where``: its name, or ``pod/NAME``.

    Raises:
        UsageError: there is no such pod, or it has no network now.
    """
    found: list[Path] = []
    name = where.removeprefix("pod/")

    async def ask(client: Client) -> None:
        try:
            pod = await client.get(POD, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            pods = [pod["metadata"]["name"] for pod in (await client.list(POD, namespace)).items]
            raise missing(where, namespace, pods, labdirectory.hosts(data_dir)) from error
        found.append(labdirectory.pod_file(data_dir, pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]))

    connection.run(data_dir / "kubeconfig", "pierhead-lab", ask)
    if not found[0].is_file():
        raise UsageError(f"pod {name} does not run", f"see: kubectl --namespace {namespace} get pod {name}")
    return found[0]


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
