"""What a request asks: its query, its body's media type, and the form its answer shall have (content negotiation)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from pierhead.apiserver.auth import Identity
from pierhead.errors import ApiError, bad_request

Media: TypeAlias = Literal["json", "yaml", "protobuf"]
View: TypeAlias = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]

MEDIA: Mapping[str, Media] = {
    "application/json": "json",
    "application/yaml": "yaml",
    "application/vnd.kubernetes.protobuf": "protobuf",
}
_VIEWS: Mapping[str, View] = {
    "Table": "Table",
    "PartialObjectMetadata": "PartialObjectMetadata",
    "PartialObjectMetadataList": "PartialObjectMetadataList",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
ACCEPTED = ", ".join(MEDIA)
STREAMED = f"{ACCEPTED}, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"


class Form(msgspec.Struct, frozen=True):
    """How an answer is written."""

    yaml: bool = False
    pretty: bool = False
    view: View = ""
    version: str = "v1"
    """Of meta.k8s.io, for a view: ``v1`` or ``v1beta1``."""
    include: str = ""
    """``includeObject`` of a Table: Metadata (empty), Object, None."""


class Request(msgspec.Struct, frozen=True, dict=True):
    """One request, whole."""

    method: str
    path: str
    """Unescaped."""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Names in lower case; of repeated headers the last, of ``accept`` all, joined by commas."""
    query_string: str = ""
    body: bytes = b""
    identity: Identity = msgspec.field(default_factory=Identity)
    client: str = ""
    """The peer's host; empty inside the process."""

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Of a repeated parameter the first value counts, as Go's ``url.Values.Get`` has it."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            found.setdefault(name, value)
        return found

    def flag(self, name: str) -> bool:
        """A boolean parameter: absent, ``0`` and ``false`` are false, anything else is true."""
        return self.query.get(name, "false").lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """An integer parameter.

        Raises:
            ApiError: 400 with Go's text.
        """
        text = self.query.get(name, "")
        if not text:
            return None
        if not _INTEGER.fullmatch(text):
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)

    @property
    def manager(self) -> str:
        """The field manager: ``fieldManager``, else the user agent up to its first slash."""
        return self.query.get("fieldManager") or self.headers.get("user-agent", "").split("/")[0][:128] or "unknown"

    @cached_property
    def form(self) -> Form:
        """Raises: ApiError 406 when nothing we write is accepted."""
        return negotiate(self, ACCEPTED)

    @cached_property
    def fallback(self) -> Form:
        """The form of an error: never a view, never refused."""
        return Form(yaml=_first_media(self.headers.get("accept", "")) == "yaml", pretty=_pretty(self))


def negotiate(request: Request, available: str) -> Form:
    """The first form of the Accept header that we write.

    Protobuf is answered in JSON: clients choose their decoder by the Content-Type of the answer.
    """
    accept = request.headers.get("accept", "")
    pretty = _pretty(request)
    if not accept or accept == "application/json":
        return Form(pretty=pretty)
    offered = False
    for media, parameters in _clauses(accept):
        if media not in MEDIA and media != "*/*":
            continue
        offered = True
        view = parameters.get("as", "")
        version = parameters.get("v", "")
        if not view:
            return Form(yaml=MEDIA.get(media) == "yaml", pretty=pretty)
        if view in _VIEWS and version in ("v1", "v1beta1") and parameters.get("g") == "meta.k8s.io":
            include = request.query.get("includeObject", "")
            return Form(MEDIA.get(media) == "yaml", pretty, _VIEWS[view], version, include)
    if offered:
        raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {ACCEPTED}")
    text = f"406: Not Acceptable\n\nAvailable representations: {available}"
    raise ApiError(406, "NotAcceptable", text, details={})


def body_media(request: Request) -> Media:
    """The media type of an object in the body; none given is JSON.

    Raises:
        ApiError: 415.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower() or "application/json"
    if media not in MEDIA:
        text = f"the body of the request was in an unknown format - accepted media types include: {ACCEPTED}"
        raise ApiError(415, "UnsupportedMediaType", text)
    return MEDIA[media]


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with their parameters, the most wanted (``q``) first, else in the order given."""
    found = []
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        found.append((media.lower(), parameters))
    return sorted(found, key=lambda item: -_quality(item[1].get("q", "1")))


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def _first_media(accept: str) -> Media | None:
    return next((MEDIA[media] for media, _ in _clauses(accept) if media in MEDIA), None)


def _pretty(request: Request) -> bool:
    """What a person reads is indented: asked for, or by the user agents the real server knows."""
    if asked := request.query.get("pretty", ""):
        return asked.lower() in ("1", "t", "true")
    return request.headers.get("user-agent", "").startswith(("curl", "Wget", "Mozilla/5.0"))
