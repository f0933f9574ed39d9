"""Defaults that every write fills in: those of the schema table, and the few of pods that depend on other fields.

What depends on more than the struct it stands in (a Service's targetPort, its families) belongs to the kind's strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from pierhead.api import Tree, schema
from pierhead.api.schema import Field


def fill(message: str, tree: Tree) -> None:
    """Fills the defaults of a message and of everything in it. In place; what is given stays."""
    plan = _plan(message)
    if plan is not None:
        _fill(plan, tree)


class _Plan(NamedTuple):
    """What there is to fill in a message."""

    values: tuple[tuple[str, Any], ...]
    inner: tuple[tuple[Field, _Plan], ...]
    rule: Callable[[Tree], None] | None


@cache
def _plan(name: str) -> _Plan | None:
    """None when there is nothing to fill, in it or below it."""
    fields = schema.message(name).fields.values()
    values = tuple((field.name, field.default) for field in fields if field.default is not None)
    plans = ((field, _plan(field.message)) for field in fields if field.message)
    inner = tuple((field, plan) for field, plan in plans if plan is not None)
    rule = _RULES.get(name)
    return _Plan(values, inner, rule) if values or inner or rule else None


def _fill(plan: _Plan, tree: Tree) -> None:
    for name, value in plan.values:
        if tree.get(name) is None:
            tree[name] = dict(value) if isinstance(value, dict) else value
    for field, inner in plan.inner:
        if field.always and not field.list and not field.map:
            tree.setdefault(field.name, {})
        found = tree.get(field.name)
        if found:
            for item in found if field.list else found.values() if field.map else (found,):
                _fill(inner, item)
        elif found is not None and not field.list and not field.map:
            _fill(inner, found)
    if plan.rule is not None:
        plan.rule(tree)


# -- defaults that depend on other fields ----------------------------------------------------------------------


def _container(container: Tree) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if _moving(container.get("image", "")) else "IfNotPresent"


def _moving(image: str) -> bool:
    """Whether the name may mean another image tomorrow: no digest, and the tag ``latest`` or none."""
    if "@" in image:
        return False
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag in ("", "latest")


def _volume(volume: Tree) -> None:
    if volume.keys() <= {"name"}:
        volume["emptyDir"] = {}


def _pod_spec(spec: Tree) -> None:
    """Ports of the host's network are the host's; the deprecated name of the service account says the same as the new one."""
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    if spec.get("hostNetwork"):
        for container in _containers(spec):
            for port in container.get("ports", ()):
                if not port.get("hostPort"):
                    port["hostPort"] = port.get("containerPort", 0)


def _pod(pod: Tree) -> None:
    """What templates do not get and their pods do: Service links, and requests up to the limit of what is only limited."""
    if pod["spec"].get("enableServiceLinks") is None:
        pod["spec"]["enableServiceLinks"] = True
    for container in _containers(pod["spec"]):
        resources = container.get("resources", {})
        if limits := resources.get("limits"):
            resources["requests"] = limits | resources.get("requests", {})


def _containers(spec: Tree) -> Iterator[Tree]:
    for name in ("initContainers", "containers"):
        yield from spec.get(name, ())


_RULES: dict[str, Callable[[Tree], None]] = {
    "api.core.v1.Container": _container,
    "api.core.v1.EphemeralContainer": _container,
    "api.core.v1.Volume": _volume,
    "api.core.v1.PodSpec": _pod_spec,
    "api.core.v1.Pod": _pod,
}
