"""Which objects of a collection a request means: its label and field selectors over stored bytes."""

from __future__ import annotations

import msgspec

from pierhead.api import Tree
from pierhead.api.kind import Kind
from pierhead.api.selectors import FieldSelector, LabelSelector, parse_fields, parse_labels
from pierhead.errors import bad_request

_OF_EVERY_KIND = ("metadata.name", "metadata.namespace")


class _Metadata(msgspec.Struct):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class _Head(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_tree = msgspec.json.Decoder(dict).decode


class Selection(msgspec.Struct, frozen=True):
    """What a list, watch or deletecollection selects within its collection."""

    kind: Kind
    labels: LabelSelector | None = None
    fields: FieldSelector | None = None
    text: str = ""
    """The same for equal selections: watchers of one text share their frames."""

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None

    def matches(self, value: bytes) -> bool:
        """``value``: an object as it is stored."""
        if self.everything:
            return True
        metadata = _decode_head(value).metadata
        if self.labels is not None and not self.labels.matches(metadata.labels):
            return False
        if self.fields is None:
            return True
        found = {"metadata.name": metadata.name, "metadata.namespace": metadata.namespace}
        if not all(path in found for path in self.fields.paths):
            found |= self.kind.strategy.selectable(_decode_tree(value))
        return self.fields.matches(found)


def selection(kind: Kind, label_selector: str, field_selector: str, name: str = "") -> Selection:
    """``name``: of the one object in the path of an old-form watch.

    Raises:
        ApiError: 400 for a selector that cannot be parsed, or for a field this kind does not select by.
    """
    labels = parse_labels(label_selector) if label_selector else None
    if name:
        field_selector = f"{field_selector},metadata.name={name}".lstrip(",")
    fields = parse_fields(field_selector) if field_selector else None
    if fields is not None:
        _refuse_unknown(kind, fields)
    return Selection(kind, labels, fields, f"{label_selector}\0{field_selector}")


def _refuse_unknown(kind: Kind, fields: FieldSelector) -> None:
    """Kinds with fields of their own and those without refuse in different words."""
    empty: Tree = {"metadata": {}}
    own = kind.strategy.selectable(empty)
    for path in fields.paths:
        if path in own or path in _OF_EVERY_KIND:
            continue
        if own:
            raise bad_request(f"field label not supported: {path}")
        raise bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')
