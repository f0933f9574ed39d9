"""From a container's spec to a command that can be run: its environment, account and directory, or the reason why not."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pierhead.api.kind import Kind
from pierhead.api.kinds import CONFIG_MAP, SECRET
from pierhead.api.views import Container, Pod, SecurityContext
from pierhead.core.environment import Facts, Unresolved, environment, expand, references, service_variables
from pierhead.errors import ApiError, PierheadError
from pierhead.node.host import NOBODY, Host, is_root
from pierhead.node.logs import Log
from pierhead.node.runtime import Launch

RUNTIME_CLASS = "process"
IMAGE = "host"


class Refused(PierheadError):
    """The container cannot be started as it is described; ``reason`` is the word its status shows."""

    def __init__(self, reason: str, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.final = final
        """Only another spec would help, so there is no use in trying again."""


def check(pod: Pod, container: Container) -> None:
    """Raises:
    Refused: this node cannot run such a container at all.
    """
    wanted = pod.spec.runtime_class_name or RUNTIME_CLASS
    if wanted != RUNTIME_CLASS:
        raise Refused("CreateContainerError", f'no runtime for "{wanted}" is configured on this node', final=True)
    if container.image not in ("", IMAGE):
        raise Refused(
            "ErrImageNeverPull",
            f'Container image "{container.image}" is not present with pull policy of Never: pods of runtime class process run'
            f" the node's own files, image must be {IMAGE}",
            final=True,
        )
    if container.volume_mounts:
        paths = ", ".join(mount.mount_path for mount in container.volume_mounts)
        raise Refused(
            "CreateContainerError",
            f"volumeMounts ({paths}): pods of runtime class process see the node's own files and nothing else",
            final=True,
        )


async def prepare(
    pod: Pod, container: Container, addresses: Sequence[str], host: Host, log: Callable[[], Log]
) -> Launch:
    """Attaches the pod to its network; ``log`` is called when nothing else can go wrong.

    Raises:
    Refused: something the container refers to does not exist, or it asks for an account it may not have.
    ApiError: a ConfigMap or Secret could not be read.
    KernelError: the pod could not be attached to its network.
    """
    user, group = _account(pod, container, host)
    facts = await _facts(pod, container, addresses, host)
    try:
        own = environment(container.env, container.env_from, facts)
    except Unresolved as error:
        raise Refused("CreateContainerConfigError", str(error)) from error
    variables = _base(pod, user) | own
    argv = [expand(word, own) for word in (*container.command, *container.args)]
    directory = expand(container.working_dir, own) or _home(user)
    prefix = host.pods.attach(pod.metadata.uid, addresses)
    return Launch(pod.metadata.uid, container.name, argv, variables, log(), directory, user, group, prefix)


def _base(pod: Pod, user: int | None) -> dict[str, str]:
    """What every container finds. It runs on the node's files, so it finds commands where the node does."""
    home = "/" if user is not None else os.environ.get("HOME", "/")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(folder for folder in folders if _may_enter(user, Path(folder)))
    return {"PATH": path, "HOME": home, "HOSTNAME": pod.spec.hostname or pod.metadata.name}


def _home(user: int | None) -> str:
    """Where a container without ``workingDir`` starts: where the node was started, if that is still there and its account may
    go there."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return "/"
    return str(here) if _may_enter(user, here) else "/"


def _may_enter(user: int | None, folder: Path) -> bool:
    """Whether an account may use what lies in a folder. Commands there would shadow those it can run: root's own PATH leads
    through root's home."""
    if not user:
        return True
    try:
        facts = [part.stat() for part in (folder, *folder.parents)]
    except OSError:
        return False
    return all(fact.st_mode & stat.S_IXOTH or (fact.st_uid == user and fact.st_mode & stat.S_IXUSR) for fact in facts)


def _account(pod: Pod, container: Container, host: Host) -> tuple[int | None, int | None]:
    """(user, group) to change to; (None, None): the agent's own."""
    of_pod, own = pod.spec.security_context or SecurityContext(), container.security_context or SecurityContext()
    user = of_pod.run_as_user if own.run_as_user is None else own.run_as_user
    group = of_pod.run_as_group if own.run_as_group is None else own.run_as_group
    non_root = of_pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    if not is_root():
        if user not in (None, os.geteuid()):
            raise Refused(
                "CreateContainerConfigError", f"runAsUser {user}: this node is not root, pods run as its user"
            )
        return None, None
    if user in (None, NOBODY):
        return NOBODY, NOBODY if group is None or not host.root_pods else group
    if not host.root_pods:
        raise Refused("CreateContainerConfigError", f"runAsUser {user}: this node runs pods as nobody ({NOBODY}) only")
    if user == 0 and non_root:
        raise Refused("CreateContainerConfigError", "container's runAsUser breaks non-root policy")
    return user, group


async def _facts(pod: Pod, container: Container, addresses: Sequence[str], host: Host) -> Facts:
    maps, secrets = references(container.env, container.env_from)
    namespace, meta = pod.metadata.namespace, pod.metadata
    nodes = host.network.node_addresses
    return Facts(
        fields={
            "metadata.name": meta.name,
            "metadata.namespace": namespace,
            "metadata.uid": meta.uid,
            "spec.nodeName": host.name,
            "spec.serviceAccountName": pod.spec.service_account_name,
            "status.hostIP": nodes[0],
            "status.hostIPs": ",".join(nodes),
            "status.podIP": addresses[0],
            "status.podIPs": ",".join(addresses),
        },
        labels=meta.labels,
        annotations=meta.annotations,
        config_maps=await _read(CONFIG_MAP, maps, namespace, host),
        secrets=await _read(SECRET, secrets, namespace, host),
        common={"POD_IP": addresses[0]}
        | service_variables(host.services.list(), namespace, links=pod.spec.enable_service_links is not False),
    )


async def _read(kind: Kind, names: set[str], namespace: str, host: Host) -> dict[str, Mapping[str, str]]:
    """Those of them that exist. Read when a container starts, so a change is seen with its next start."""
    found: dict[str, Mapping[str, str]] = {}
    for name in sorted(names):
        try:
            data = (await host.client.get(kind, name, namespace)).get("data") or {}
        except ApiError as error:
            if error.code != 404:
                raise
            continue
        found[name] = {key: _decoded(value or "") if kind is SECRET else value or "" for key, value in data.items()}
    return found


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode(errors="surrogateescape")
