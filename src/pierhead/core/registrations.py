"""What ``pierhead register`` is told, as an external pod; what it takes to make the one that is there like that; and what became
of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from pierhead.api import Tree, external, rules
from pierhead.core.external import INVALID_ADDRESS
from pierhead.core.lifecycle_status import rfc3339
from pierhead.errors import PierheadError

ZONE = "topology.kubernetes.io/zone"
IMAGE = "external"
"""The API wants one; none is run."""
FIELDS = ("name", "namespace", "ip", "ports", "labels", "probe", "ttl", "zone")
PACE: Tree = {"periodSeconds": 3, "timeoutSeconds": 2, "failureThreshold": 2}
"""A machine that answers no more has no endpoint after some eight seconds."""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PROBE = re.compile(r"(?P<scheme>https?):(?P<port>[^/]*)(?P<path>/.*)?")

Verdict: TypeAlias = Literal["registered", "renewed", "changed", "unchanged"]


class Wrong(PierheadError):
    """A registration that makes no sense; ``field`` says where: one of `FIELDS`, or an unknown word."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


class Port(NamedTuple):
    name: str
    number: int
    protocol: str


class Registration(msgspec.Struct, frozen=True):
    """One thing that already runs somewhere."""

    name: str
    ip: str
    namespace: str = "default"
    ports: tuple[Port, ...] = ()
    labels: Mapping[str, str] | None = None
    probe: Tree | None = None
    ttl: int | None = None
    zone: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name


# -- reading -------------------------------------------------------------------------------------------------


def read(fields: Mapping[str, Any], namespace: str = "default") -> Registration:
    """``fields``: `FIELDS`, as texts, but ``ports`` a list of texts and ``labels`` a mapping. ``namespace``: where none is named.

    Raises:
        Wrong: one of them is missing, unknown or makes no sense.
    """
    for word in fields:
        if word not in FIELDS:
            raise Wrong(str(word), f'unknown field "{word}": there are {", ".join(FIELDS)}')
    ports = _ports(fields.get("ports") or ())
    return Registration(
        _text("name", fields, rules.dns1123_subdomain),
        _ip(fields),
        _text("namespace", {"namespace": fields.get("namespace") or namespace}, rules.dns1123_label),
        ports,
        _labels(fields.get("labels") or {}),
        _probe(fields.get("probe"), ports),
        _ttl(fields.get("ttl")),
        _text("zone", fields, rules.label_value) if fields.get("zone") else "",
    )


def port(text: str) -> Port:
    """``http=8080``, ``dns=53/udp``, ``8080``.

    Raises:
        Wrong: it is none of these.
    """
    name, equals, rest = text.rpartition("=")
    number, slash, protocol = rest.partition("/")
    protocol = protocol.upper() if slash else "TCP"
    if protocol == "SCTP":
        raise Wrong("ports", f'port "{text}": SCTP is not carried, only tcp and udp are')
    if not _is_number(number) or rules.port_number(int(number)) or protocol not in ("TCP", "UDP"):
        raise Wrong("ports", f'"{text}" is not a port: write http=8080, dns=53/udp or 8080')
    if equals and (texts := rules.port_name(name)):
        raise Wrong("ports", f'the name of port "{text}" {texts[0]}')
    return Port(name, int(number), protocol)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _text(field: str, fields: Mapping[str, Any], rule: Callable[[str], Iterable[str]]) -> str:
    found = fields.get(field)
    if found in (None, ""):
        raise Wrong(field, f"{field} is missing")
    for why in rule(str(found)):
        raise Wrong(field, f'{field} "{found}": {why}')
    return str(found)


def _ip(fields: Mapping[str, Any]) -> str:
    text = str(fields.get("ip") or "")
    try:
        return str(external.address({external.ADDRESS: text}))
    except external.Unusable as error:
        raise Wrong("ip", f'ip "{text}" is not an IP address' if text else "ip is missing") from error


def _ports(given: Any) -> tuple[Port, ...]:
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise Wrong("ports", "ports must be a list such as [http=8080, dns=53/udp]")
    found = tuple(port(str(text)) for text in given)
    names, numbers = [each.name for each in found], [each[1:] for each in found]
    for each in found:
        if names.count(each.name) > 1:
            raise Wrong("ports", f'two ports have the name "{each.name}"' if each.name else "several ports need names")
        if numbers.count(each[1:]) > 1:
            raise Wrong("ports", f"port {each.number}/{each.protocol.lower()} stands there twice")
    return found


def _labels(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise Wrong("labels", "labels must be pairs of key and value")
    for key, value in given.items():
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise Wrong("labels", f'the value of label "{key}" is no text: put it in quotes')
    found = {str(key): "" if value is None else str(value) for key, value in given.items()}
    for key, value in found.items():
        for why in (*rules.qualified_name(key), *rules.label_value(value)):
            raise Wrong("labels", f'label "{key}={value}": {why}')
    return found


def _ttl(given: Any) -> int | None:
    if given in (None, ""):
        return None
    text = str(given)
    number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
    seconds = int(number) * _UNITS[unit] if _is_number(number) and unit in _UNITS else 0
    if not 0 < seconds <= external.LONGEST_TTL:
        raise Wrong("ttl", f'ttl "{text}" is not a time such as 60s, 5m or 1h, of a year at most')
    return seconds


def _probe(given: Any, ports: Sequence[Port]) -> Tree | None:
    """Without a word, a connection to the first TCP port has to succeed, if there is one."""
    first = next((found.name or found.number for found in ports if found.protocol == "TCP"), None)
    text = "none" if given is None and first is None else str(given or "tcp")
    if text == "none":
        return None
    if text == "tcp" or text.startswith("tcp:"):
        return {"tcpSocket": {"port": _probed(text, text[4:], first, ports)}} | PACE
    if match := _PROBE.fullmatch(text):
        where = _probed(text, match["port"], first, ports)
        return {"httpGet": {"path": match["path"] or "/", "port": where, "scheme": match["scheme"].upper()}} | PACE
    raise Wrong(
        "probe", f'"{text}" is not a probe: write http:/healthz, http:8080/healthz, https:…, tcp, tcp:8080 or none'
    )


def _probed(probe: str, text: str, first: str | int | None, ports: Sequence[Port]) -> str | int:
    if not text:
        if first is None:
            raise Wrong("probe", f'probe "{probe}" needs a port: there is no TCP port to look at')
        return first
    if _is_number(text) and not rules.port_number(int(text)):
        return int(text)
    if text in [found.name for found in ports if found.protocol == "TCP"]:
        return text
    raise Wrong("probe", f'probe "{probe}": there is no TCP port "{text}"')


# -- writing -------------------------------------------------------------------------------------------------


def pod(found: Registration, now: float) -> Tree:
    """The pod of a registration made at ``now`` (seconds since the epoch)."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": found.name,
            "namespace": found.namespace,
            "labels": dict(found.labels or {}),
            "annotations": {external.ADDRESS: found.ip} | _term(found, now),
        },
        "spec": _spec(found),
    }


def _term(found: Registration, now: float) -> dict[str, str]:
    return {} if found.ttl is None else {external.TTL: str(found.ttl), external.RENEWED: rfc3339(now)}


def _spec(found: Registration) -> Tree:
    container: Tree = {"name": "external", "image": IMAGE}
    if found.ports:
        container["ports"] = [
            ({"name": each.name} if each.name else {}) | {"containerPort": each.number, "protocol": each.protocol}
            for each in found.ports
        ]
    if found.probe:
        container["readinessProbe"] = found.probe
    spec: Tree = {"runtimeClassName": external.RUNTIME_CLASS, "containers": [container]}
    return spec | ({"nodeSelector": {ZONE: found.zone}} if found.zone else {})


class Step(msgspec.Struct, frozen=True):
    """What to do about one registration."""

    verdict: Verdict
    create: Tree | None = None
    patch: Tree | None = None
    replaces: str = ""
    """The uid of the pod that has to go first: its ports and probe are fixed at birth."""


def step(found: Registration, there: Tree | None, now: float) -> Step:
    """``there``: the pod of that name.

    Raises:
        Wrong: it is no external pod, or is being deleted.
    """
    wanted = pod(found, now)
    if there is None:
        return Step("registered", create=wanted)
    if there["spec"].get("runtimeClassName") != external.RUNTIME_CLASS:
        raise Wrong("name", f"pod/{found.name} is there and is no external pod: take another name")
    if there["metadata"].get("deletionTimestamp"):
        raise Wrong("name", f"pod/{found.name} is being deleted: try again when it is gone")
    if not _alike(wanted["spec"], there["spec"]):
        return Step("registered", create=wanted, replaces=there["metadata"]["uid"])
    labels = _changes(wanted["metadata"]["labels"], there["metadata"].get("labels") or {})
    own = (external.ADDRESS, external.TTL, external.RENEWED)
    notes = there["metadata"].get("annotations") or {}
    annotations = _changes(wanted["metadata"]["annotations"], {key: notes[key] for key in own if key in notes})
    if found.ttl is not None:
        annotations[external.RENEWED] = rfc3339(now)
    change = {name: part for name, part in (("labels", labels), ("annotations", annotations)) if part}
    if not change:
        return Step("unchanged")
    more = labels or found.ttl is None or annotations.keys() - {external.TTL, external.RENEWED}
    return Step("changed" if more else "renewed", patch={"metadata": change})


def _changes(wanted: Mapping[str, str], there: Mapping[str, str]) -> dict[str, str | None]:
    """As a merge patch has them: null removes."""
    found: dict[str, str | None] = {key: None for key in there if key not in wanted}
    return found | {key: value for key, value in wanted.items() if there.get(key) != value}


def _alike(wanted: Tree, there: Tree) -> bool:
    """Whether a spec is what was wanted; the server fills in much that nobody named."""
    one, other = wanted["containers"][0], there["containers"][0]
    named = all((field in one) == bool(other.get(field)) for field in ("ports", "readinessProbe"))
    return named and ("nodeSelector" in wanted) == bool(there.get("nodeSelector")) and _within(wanted, there)


def _within(wanted: Any, there: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(there, Mapping):
        return all(key in there and _within(value, there[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(there, list):
        return len(wanted) == len(there) and all(map(_within, wanted, there))
    return bool(wanted == there)


# -- what nodes make of it -----------------------------------------------------------------------------------


def unattended(wanted: Iterable[Registration], nodes: Iterable[Tree]) -> dict[tuple[str, str], str]:
    """Of those for whose zone there is no node to look at them, by key: why. ``nodes``: all there are."""
    zones = sorted({zone for node in nodes if (zone := (node["metadata"].get("labels") or {}).get(ZONE))})
    there = f"there are nodes in {', '.join(zones)}" if zones else "there are no nodes"
    return {
        found.key: f'no node is in zone "{found.zone}" yet; {there}'
        for found in wanted
        if found.zone and found.zone not in zones
    }


def refusal(found: Registration, there: Tree) -> str | None:
    """Why no node looks at its pod, or the one that does lets no Service lead to this address; empty: neither; None: not known yet."""
    status = there.get("status") or {}
    if status.get("podIP") == found.ip:
        return ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    for container in status.get("containerStatuses") or ():
        waiting = container["state"].get("waiting") or {}
        why = str(waiting.get("message", "")).removeprefix(f"annotation {external.ADDRESS}: ")
        if waiting.get("reason") == INVALID_ADDRESS and why.startswith((f"{found.ip} ", f"{found.ip}:")):
            return why
    return None
