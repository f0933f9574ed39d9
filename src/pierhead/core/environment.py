"""What a container finds in its environment: Services of its namespace, ConfigMaps, Secrets, facts about its pod.

The order is the kubelet's: ``envFrom``, then ``env`` (which may refer to what came before it, and to what every container finds, by
``$(NAME)``), then what every container finds (``POD_IP``, Services), which never replaces what the pod names itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from pierhead.api.views import EnvFromSource, EnvVar, KeySelector, LocalReference, Service, ServicePort
from pierhead.errors import PierheadError

Variables: TypeAlias = dict[str, str]

_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\((?P<name>[^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class Facts(msgspec.Struct, frozen=True):
    """Everything a pod's variables may refer to."""

    fields: Mapping[str, str]
    """``metadata.name``, ``status.podIP``, ``spec.nodeName``, … → value."""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    """Those of the pod's namespace that it names and that exist."""
    secrets: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    """The same of Secrets, decoded."""
    common: Mapping[str, str] = msgspec.field(default_factory=dict)
    """What every container of the pod finds: its address, and `service_variables`."""


class Unresolved(PierheadError):
    """A variable refers to something that does not exist; the text is the kubelet's."""


# -- Services -----------------------------------------------------------------------------------------------


def service_variables(services: Iterable[Service], namespace: str, *, links: bool) -> Variables:
    """Variables of the Services a pod in ``namespace`` sees. ``links``: ``enableServiceLinks``; without it only the API
    server's own Service (``kubernetes`` in ``default``) is told."""
    seen: dict[str, Service] = {}
    for service in services:
        meta = service.metadata
        if service.spec.cluster_ip in ("", "None") or not service.spec.ports:
            continue
        if links and meta.namespace == namespace:
            seen[meta.name] = service
        elif (meta.namespace, meta.name) == ("default", "kubernetes"):
            seen.setdefault(meta.name, service)
    found: Variables = {}
    for name in sorted(seen):
        found |= _variables(seen[name])
    return found


def _variables(service: Service) -> Variables:
    prefix, address, ports = _variable_name(service.metadata.name), service.spec.cluster_ip, service.spec.ports
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0].port)}
    for port in ports:
        if port.name:
            found[f"{prefix}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
    found[f"{prefix}_PORT"] = _url(address, ports[0])
    for port in ports:
        link = f"{prefix}_PORT_{port.port}_{port.protocol.upper()}"
        found[link] = _url(address, port)
        found[f"{link}_PROTO"] = port.protocol.lower()
        found[f"{link}_PORT"] = str(port.port)
        found[f"{link}_ADDR"] = address
    return found


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")


def _url(address: str, port: ServicePort) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{port.protocol.lower()}://{host}:{port.port}"


# -- a container's own ---------------------------------------------------------------------------------------


def expand(text: str, *known: Mapping[str, str]) -> str:
    """``$(NAME)`` becomes its value, from the first mapping that has it; an unknown name stays as it is, ``$$`` is a ``$``."""

    def replacement(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        return next((names[match["name"]] for names in known if match["name"] in names), match[0])

    return _REFERENCE.sub(replacement, text)


def environment(env: Sequence[EnvVar], sources: Sequence[EnvFromSource], facts: Facts) -> Variables:
    """The variables of a container.

    Raises:
        Unresolved: a ConfigMap, Secret, key or field that is not optional does not exist.
    """
    found: Variables = {}
    for source in sources:
        found |= _bundle(source, facts)
    for variable in env:
        value = _value(variable, found, facts)
        if value is not None:
            found[variable.name] = value
    return {**facts.common, **found}


def references(env: Sequence[EnvVar], sources: Sequence[EnvFromSource]) -> tuple[set[str], set[str]]:
    """The names of the ConfigMaps and of the Secrets that a container's variables come from."""
    origins = [variable.value_from for variable in env if variable.value_from]
    maps = {origin.config_map_key_ref.name for origin in origins if origin.config_map_key_ref}
    secrets = {origin.secret_key_ref.name for origin in origins if origin.secret_key_ref}
    maps |= {source.config_map_ref.name for source in sources if source.config_map_ref}
    secrets |= {source.secret_ref.name for source in sources if source.secret_ref}
    return maps, secrets


def _bundle(source: EnvFromSource, facts: Facts) -> Variables:
    if source.config_map_ref:
        values = _holder("configmap", source.config_map_ref, facts.config_maps)
    elif source.secret_ref:
        values = _holder("secret", source.secret_ref, facts.secrets)
    else:
        values = {}
    return {source.prefix + key: value for key, value in values.items() if _can_be_set(source.prefix + key)}


def _can_be_set(name: str) -> bool:
    """Keys of a ConfigMap are free enough, but a process cannot be given a name with an equals sign or a null."""
    return bool(name) and "=" not in name and "\0" not in name


def _holder(
    word: str, wanted: LocalReference | KeySelector, held: Mapping[str, Mapping[str, str]]
) -> Mapping[str, str]:
    if wanted.name not in held and not wanted.optional:
        raise Unresolved(f'{word} "{wanted.name}" not found')
    return held.get(wanted.name, {})


def _value(variable: EnvVar, found: Variables, facts: Facts) -> str | None:
    """None: the variable is left out (an optional key that does not exist)."""
    origin = variable.value_from
    if origin is None:
        return expand(variable.value, found, facts.common)
    if origin.field_ref:
        return _field(origin.field_ref.field_path, facts)
    if origin.config_map_key_ref:
        return _key("ConfigMap", origin.config_map_key_ref, facts.config_maps, facts)
    if origin.secret_key_ref:
        return _key("Secret", origin.secret_key_ref, facts.secrets, facts)
    raise Unresolved(f"variable {variable.name}: only fieldRef, configMapKeyRef and secretKeyRef are supported")


def _key(word: str, wanted: KeySelector, held: Mapping[str, Mapping[str, str]], facts: Facts) -> str | None:
    values = _holder(word.lower(), wanted, held)
    if wanted.key not in values and not wanted.optional:
        raise Unresolved(f"couldn't find key {wanted.key} in {word} {facts.fields['metadata.namespace']}/{wanted.name}")
    return values.get(wanted.key)


def _field(path: str, facts: Facts) -> str:
    if match := _SUBSCRIPT.fullmatch(path):
        return (facts.labels if match[1] == "labels" else facts.annotations).get(match[2], "")
    if path not in facts.fields:
        raise Unresolved(f"unsupported fieldPath: {path}")
    return facts.fields[path]
