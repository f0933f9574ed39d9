"""Writes ``src/pierhead/api/schema.json``: every message of the API, its fields, and how Go and kubectl treat them.

    python scripts/schema/generate.py [--check]

Three sources, all about Kubernetes 1.36: ``protobuf-1.36.json`` beside this file (message → field → [number, type], in the
order of the Go structs, which is the order of JSON output), the JSON schemas in the development dependency
``kubernetes-validate`` (required fields, patch merge keys, list types, kinds), and ``hand.yaml`` for what neither of them knows.
``--check`` writes nothing and exits 1 when the checked-in file is not what would be written.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import kubernetes_validate
import msgspec
import yaml

from pierhead.api.kinds import SERVED
from pierhead.api.schema import Field, Message, Table, Type

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "src/pierhead/api/schema.json"
SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema/v1.36.0-local/_definitions.json"

META = "apimachinery.pkg.apis.meta.v1."
ROOTS = (
    "api.core.v1.Binding", "api.autoscaling.v1.Scale", "api.policy.v1.Eviction", f"{META}DeleteOptions", f"{META}Status",
)  # fmt: skip
"""Messages a client sends or gets besides the kinds of the table and what they reach."""
LEAVES: dict[str, Type] = {
    f"{META}Time": "time",
    f"{META}MicroTime": "microtime",
    f"{META}FieldsV1": "any",
    "apimachinery.pkg.runtime.RawExtension": "any",
    "apimachinery.pkg.api.resource.Quantity": "quantity",
    "apimachinery.pkg.util.intstr.IntOrString": "intorstring",
}
"""Messages with a JSON form of their own."""
SCALARS: dict[str, Type] = {
    "string": "string", "bool": "bool", "int32": "int32", "int64": "int64", "bytes": "bytes", "double": "double",
}  # fmt: skip
EMBEDDED = re.compile(
    r"api\.core\.v1\.(Volume\.volumeSource|Probe\.handler|EphemeralContainer\.ephemeralContainerCommon|\w+\.localObjectReference)"
)
"""Go structs embedded in another: fields of the outer object in JSON, a message of their own in protobuf."""
TYPE = re.compile(r"(\[\])?(?:map<string,\.?)?([\w.]+)>?")

Numbers: TypeAlias = dict[str, dict[str, tuple[int, str]]]


@dataclass(frozen=True)
class Sources:
    """The three inputs, as they stand on disk."""

    numbers: Numbers
    schemas: dict[str, Any]
    hand: dict[str, Any]
    claimed: set[tuple[str, str]] = field(default_factory=set)
    """Entries of the hand table that some message used; the rest are typing errors."""

    @classmethod
    def read(cls) -> Sources:
        hand = yaml.safe_load((HERE / "hand.yaml").read_text())
        numbers = msgspec.json.decode((HERE / "protobuf-1.36.json").read_bytes()) | hand["messages"]
        return cls(numbers, msgspec.json.decode(SCHEMAS.read_bytes())["$defs"], hand)

    def entry(self, section: str, message: str, default: Any) -> Any:
        """What the hand table has in ``section`` about a message: by its full name, or by its last word or two."""
        names = [message, message.removeprefix("api."), message.rpartition(".")[2]]
        for name in names:
            if name in self.hand[section]:
                self.claimed.add((section, name))
                return self.hand[section][name]
        return default

    def about(self, section: str, message: str, name: str) -> Any:
        """What the hand table has in ``section`` about one field."""
        for full in (f"{message}.{name}", f"{message.rpartition('.')[2]}.{name}"):
            if full in self.hand[section]:
                self.claimed.add((section, full))
                return self.hand[section][full]
        return None

    def unclaimed(self) -> list[str]:
        sections = ("structs", "always", "pointers", "defaults", "enums", "go_types", "descriptions")
        entries = [(section, name) for section in sections for name in self.hand[section]]
        return [f"{section}: {name}" for section, name in entries if (section, name) not in self.claimed]

    @cached_property
    def registered(self) -> dict[str, list[str]]:
        """apiVersion → kinds a real server can read, lists included."""
        found: dict[str, set[str]] = {version: set(kinds) for version, kinds in self.hand["retired"].items()}
        for schema in self.schemas.values():
            for known in schema.get("x-kubernetes-group-version-kind", []):
                version = f"{known['group']}/{known['version']}" if known["group"] else known["version"]
                found.setdefault(version, set()).add(known["kind"])
        return {version: sorted(found[version]) for version in sorted(found)}


def build(sources: Sources) -> Table:
    """Every message reachable from the kinds, and from ROOTS."""
    messages: dict[str, Message] = {}
    waiting = [*(kind.message for kind in SERVED), *ROOTS]
    while waiting:
        name = waiting.pop()
        if name not in messages:
            messages[name] = _message(sources, name)
            waiting += [found.message for found in messages[name].fields.values() if found.message]
    if left := sources.unclaimed():
        raise SystemExit("hand.yaml speaks about nothing: " + ", ".join(left))
    return Table(sources.registered, {name: messages[name] for name in sorted(messages)})


def _message(sources: Sources, name: str) -> Message:
    schema = sources.schemas.get(f"io.k8s.{name}", {})
    own = sources.numbers[name]
    fields = {}
    if name in {kind.message for kind in SERVED} | set(ROOTS):
        common = sources.hand["everywhere"]
        fields = {key: Field(key, 0, "string", description=common[key]) for key in ("kind", "apiVersion")}
    for key, (number, written) in own.items():
        if EMBEDDED.fullmatch(f"{name}.{key}"):
            inner = written.removeprefix("[]")
            for deep, (place, kind) in sources.numbers[inner].items():
                fields[deep] = _field(sources, inner, deep, (place, kind), schema, within=number)
        else:
            fields[key] = _field(sources, name, key, (number, written), schema)
    map_type = schema.get("x-kubernetes-map-type", "")
    return Message(name, fields, sources.entry("descriptions", name, ""), map_type)


def _field(
    sources: Sources, owner: str, name: str, numbered: tuple[int, str], schema: dict[str, Any], *, within: int = 0
) -> Field:
    number, written = numbered
    shape = TYPE.fullmatch(written)
    assert shape is not None, written
    inner = shape[2]
    kind: Type = LEAVES.get(inner) or SCALARS.get(inner, "message")
    many = bool(shape[1])
    table = written.startswith("map<")
    published = schema.get("properties", {}).get(name, {})
    singular_struct = not many and not table and kind not in SCALARS
    struct = name in sources.entry("structs", owner, ())
    everywhere = sources.hand["everywhere"][name] if inner == f"{META}ObjectMeta" else ""
    go, *values = sources.about("enums", owner, name) or [""]
    required = name in schema.get("required", [])
    return Field(
        name,
        number,
        kind,
        message=inner if kind == "message" else "",
        list=many,
        map=table,
        pointer=(singular_struct and not struct) or name in sources.entry("pointers", owner, ()),
        always=struct or required or name in sources.entry("always", owner, ()),
        merge_key=published.get("x-kubernetes-patch-merge-key", ""),
        patch_strategy=published.get("x-kubernetes-patch-strategy", ""),
        list_type=published.get("x-kubernetes-list-type", ""),
        map_keys=tuple(published.get("x-kubernetes-list-map-keys", ())),
        default=sources.entry("defaults", owner, {}).get(name),
        enum=tuple(values),
        required=required,
        description=sources.about("descriptions", owner, name) or everywhere,
        go=_go(sources, owner, name, go or inner),
        within=within,
    )


def _go(sources: Sources, owner: str, name: str, inner: str) -> str:
    """The Go type that error texts name, without ``[]``: ``v1.ServiceType``; empty where it is the type itself."""
    if found := sources.about("go_types", owner, name):
        return str(found)
    if inner in SCALARS or inner in LEAVES:
        return ""
    parts = inner.split(".")
    return inner if len(parts) == 2 else f"v1.{parts[-1]}"


def rendered(table: Table) -> bytes:
    """One line for each message, so that a change shows in a diff as what it is."""
    head = msgspec.json.encode(table.registered)
    lines = [
        msgspec.json.encode(name) + b":" + msgspec.json.encode(message) for name, message in table.messages.items()
    ]
    return b'{"registered":' + head + b',\n"messages":{\n' + b",\n".join(lines) + b"\n}}\n"


def main() -> None:
    written = rendered(build(Sources.read()))
    if "--check" not in sys.argv:
        TARGET.write_bytes(written)
    elif TARGET.read_bytes() != written:
        raise SystemExit(f"{TARGET} is not what its sources give: run {Path(__file__).name}")


if __name__ == "__main__":
    main()
