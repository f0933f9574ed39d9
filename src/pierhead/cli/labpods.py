"""Where a pod of a lab is: its API says on which node."""

from __future__ import annotations

from pathlib import Path

from pierhead.api.kinds import POD
from pierhead.cli import connection
from pierhead.client.client import Client
from pierhead.errors import ApiError, UsageError
from pierhead.region import labdirectory


def find(data_dir: Path, name: str, namespace: str) -> Path:
    """The file that its network namespace is kept by.

    Raises:
        UsageError: there is no such pod, or it has no network now.
    """
    found: list[Path] = []

    async def ask(client: Client) -> None:
        try:
            pod = await client.get(POD, name, namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            others = (await client.list(POD, namespace)).items
            names = ", ".join([*labdirectory.hosts(data_dir), *(pod["metadata"]["name"] for pod in others)])
            raise UsageError(
                f'there is no node or pod "{name}"', f"in namespace {namespace} there are: {names}"
            ) from error
        found.append(labdirectory.pod_file(data_dir, pod["spec"].get("nodeName", ""), pod["metadata"]["uid"]))

    connection.run(data_dir / "kubeconfig", "pierhead-lab", ask)
    if not found[0].is_file():
        raise UsageError(f"pod {name} does not run", f"see: kubectl --namespace {namespace} get pod {name}")
    return found[0]
