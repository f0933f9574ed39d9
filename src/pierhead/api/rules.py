"""What a value must look like, and how Kubernetes says that it does not.

Two families. *Checks* (``dns1123_label``, ``ip_address`` …) take a value and return texts, none when it is right. *Causes*
(``invalid_value``, ``required`` …) put a text behind a field path. The texts are those of Kubernetes 1.36, to the letter,
oddities included: clients' tests compare them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from ipaddress import ip_address as parse_address
from ipaddress import ip_network as parse_network
from typing import Any, TypeAlias

from pierhead.errors import Cause

Address: TypeAlias = IPv4Address | IPv6Address

EMPTY = "must be non-empty"
IMMUTABLE = "field is immutable"
IP_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"

PROTOCOLS = ("SCTP", "TCP", "UDP")

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"

_is_label = re.compile(_LABEL).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_name = re.compile(_NAME).fullmatch
_is_value = re.compile(_VALUE).fullmatch

_ALPHANUMERIC = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_NAME_TEXT = f"{_ALPHANUMERIC} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
_VALUE_TEXT = (
    f"a valid label must be an empty string or {_ALPHANUMERIC[5:]} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    f"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    f"with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)


# -- checks: names ------------------------------------------------------------------------------------------


def _size(value: str) -> int:
    """Lengths count bytes of UTF-8, whatever the text calls them."""
    return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))


def dns1123_label(value: str) -> list[str]:
    """A name of one part, as of Services and ports."""
    texts = ["must be no more than 63 characters"] if _size(value) > 63 else []
    if not _is_label(value):
        texts.append("must not contain dots" if _is_subdomain(value) else _LABEL_TEXT)
    return texts


def dns1123_subdomain(value: str) -> list[str]:
    """Labels joined by dots: the name of most objects."""
    texts = ["must be no more than 253 characters"] if _size(value) > 253 else []
    return texts if _is_subdomain(value) else [*texts, _SUBDOMAIN_TEXT]


def path_segment(value: str) -> list[str]:
    """Whatever can be one segment of a URL path: the least that every name must be."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in value]


def qualified_name(value: str) -> list[str]:
    """A key of labels or annotations: an optional DNS prefix, ``/``, and a name."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {_NAME_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    texts: list[str] = []
    if slash:
        texts += [f"prefix part {text}" for text in (dns1123_subdomain(prefix) if prefix else [EMPTY])]
    if not name:
        texts.append(f"name part {EMPTY}")
    elif _size(name) > 63:
        texts.append("name part must be no more than 63 bytes")
    return texts if _is_name(name) else [*texts, f"name part {_NAME_TEXT}"]


def label_value(value: str) -> list[str]:
    texts = ["must be no more than 63 bytes"] if _size(value) > 63 else []
    return texts if _is_value(value) else [*texts, _VALUE_TEXT]


def port_name(value: str) -> list[str]:
    """An IANA service name (RFC 6335 section 5.1), as container ports and ``targetPort`` bear it."""
    texts = ["must be no more than 15 characters"] if _size(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        texts.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        texts.append("must contain at least one letter (a-z)")
    if "--" in value:
        texts.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        texts.append("must not begin or end with a hyphen")
    return texts


# -- checks: numbers ----------------------------------------------------------------------------------------


def in_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [f"must be between {low} and {high}, inclusive"]


def port_number(value: int) -> list[str]:
    return in_range(value, 1, 65535)


def non_negative(value: int) -> list[str]:
    return [] if value >= 0 else ["must be greater than or equal to 0"]


# -- checks: addresses --------------------------------------------------------------------------------------

_LEADING_ZEROS = re.compile("(?<![0-9a-fA-F])0+(?=[0-9a-fA-F])")


def address(value: str) -> Address | None:
    """The address that ``value`` names, leading zeros tolerated as old clients wrote them; None when it names none."""
    if "%" in value:
        return None
    try:
        return parse_address(_LEADING_ZEROS.sub("", value))
    except ValueError:
        return None


def _canonical_digits(value: str) -> bool:
    try:
        parse_address(value)
    except ValueError:
        return False
    return True


def ip_address(value: str) -> list[str]:
    """An IP address, strictly: no leading zeros (two readings in the field), no IPv4 in IPv6 clothes."""
    found = address(value)
    if found is None:
        return [IP_TEXT]
    if not _canonical_digits(value):
        return ["must not have leading 0s"]
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return ["must not be an IPv4-mapped IPv6 address"]
    return []


def family(value: str) -> str:
    """``IPv4`` or ``IPv6``, and ``""`` for what is no address. IPv4 in IPv6 clothes is IPv4, as Go has it."""
    found = address(value)
    if found is None:
        return ""
    return "IPv4" if found.version == 4 or found.ipv4_mapped else "IPv6"


def ordinary_address(value: str, *, loopback: bool = False) -> list[str]:
    """Nothing that means "here": unspecified, loopback (unless ``loopback`` allows it), link-local. A non-address passes."""
    found = address(value)
    if found is None:
        return []
    plain: Address = (isinstance(found, IPv6Address) and found.ipv4_mapped) or found
    if plain.is_unspecified:
        return [f"may not be unspecified ({value})"]
    if plain.is_loopback:
        return [] if loopback else ["may not be in the loopback range (127.0.0.0/8, ::1/128)"]
    if plain.is_link_local:
        return ["may not be in the link-local range (169.254.0.0/16, fe80::/10)"]
    if _link_local_multicast(plain):
        return ["may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"]
    return []


def _link_local_multicast(found: Address) -> bool:
    if isinstance(found, IPv4Address):
        return int(found) >> 8 == 0xE00000
    # Any flags, scope 2 (RFC 4291 section 2.7): the range in the text is narrower than the rule.
    return found.packed[0] == 0xFF and found.packed[1] & 0x0F == 2


def network(value: str) -> tuple[Address, int] | None:
    """The address and the prefix length that a CIDR text names, leading zeros tolerated; None when it names none."""
    text, _, length = value.partition("/")
    found = address(text)
    if found is None or not (length.isascii() and length.isdigit()) or len(length.lstrip("0")) > 3:
        return None
    return (found, int(length)) if int(length) <= found.max_prefixlen else None


def cidr(value: str) -> list[str]:
    """A network in CIDR notation, strictly: its own address, no leading zeros, no IPv4 in IPv6 clothes."""
    found = network(value)
    if found is None:
        return [CIDR_TEXT]
    start, length = found
    if not _canonical_digits(value.partition("/")[0]) or not value.endswith(f"/{length}"):
        return ["must not have leading 0s in IP or prefix length"]
    if isinstance(start, IPv6Address) and start.ipv4_mapped:
        return ["must not have an IPv4-mapped IPv6 address"]
    if int(start) & ((1 << (start.max_prefixlen - length)) - 1):
        return ["must not have bits set beyond the prefix length"]
    return []


# -- warnings about what passes ------------------------------------------------------------------------------


def address_warnings(path: str, value: str) -> list[str]:
    """Of an address that is understood and should be written otherwise."""
    found = address(value)
    if found is None:
        return []
    if not _canonical_digits(value) or (isinstance(found, IPv6Address) and found.ipv4_mapped):
        shown_as = quoted(str((isinstance(found, IPv6Address) and found.ipv4_mapped) or found))
        return [f"{path}: non-standard IP address {quoted(value)} {_FUTURE}: use {shown_as}"]
    if found.version == 6 and str(found) != value:
        return [f"{path}: IPv6 address {quoted(value)} {_CANONICAL} ({quoted(str(found))})"]
    return []


def cidr_warnings(path: str, value: str) -> list[str]:
    """Of a network that is understood and should be written otherwise."""
    found = network(value)
    if found is None:
        return []
    start, length = found
    block = parse_network((int(start), length) if start.version == 4 else (start.packed, length), strict=False)
    texts: list[str] = []
    if block.network_address != start:
        single = quoted(f"{start}/{start.max_prefixlen}")
        meant = f"(should be {quoted(str(block))} or {single}?)"
        texts.append(f"{path}: CIDR value {quoted(value)} is ambiguous in this context {meant}")
    if "must not have leading 0s in IP or prefix length" in cidr(value):
        return [*texts, f"{path}: non-standard CIDR value {quoted(value)} {_FUTURE}: use {quoted(str(block))}"]
    if start.version == 6 and f"{start}/{length}" != value:
        texts.append(f"{path}: IPv6 CIDR value {quoted(value)} {_CANONICAL} ({quoted(f'{start}/{length}')})")
    return texts


_FUTURE = "will be considered invalid in a future Kubernetes release"
_CANONICAL = "should be in RFC 5952 canonical format"


# -- causes -------------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """``text`` as Go's ``%q`` writes it."""
    return f'"{text}"' if _PLAIN(text) else f'"{"".join(map(_escaped, text))}"'


_PLAIN = re.compile(r"[ !#-\[\]-~]*").fullmatch
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def _escaped(sign: str) -> str:
    if sign in _ESCAPES:
        return _ESCAPES[sign]
    if sign.isprintable():
        return sign
    code = ord(sign)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xD800 <= code < 0xE000:  # half a pair is no character: Go reads the replacement character
        return "\ufffd"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(value: Any) -> str:
    """A value as messages quote it: strings quoted, numbers and booleans bare, anything else as Go's compact JSON."""
    if isinstance(value, str):
        return quoted(value)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def invalid_value(path: str, value: Any, detail: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {shown(value)}{_tail(detail)}", path)


def invalid_values(path: str, value: Any, details: Iterable[str]) -> list[Cause]:
    """One cause for each text a check returned."""
    return [invalid_value(path, value, detail) for detail in details]


def required(path: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value{_tail(detail)}", path)


def not_found_value(path: str, value: Any) -> Cause:
    return Cause("FieldValueNotFound", f"Not found: {shown(value)}", path)


def forbidden_field(path: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden{_tail(detail)}", path)


def not_supported(path: str, value: Any, supported: Sequence[str]) -> Cause:
    """``supported`` in the order in which the real server lists it: most often sorted, not always."""
    listed = ", ".join(map(quoted, supported))
    return Cause("FieldValueNotSupported", f"Unsupported value: {shown(value)}: supported values: {listed}", path)


def duplicate(path: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", path)


def too_long(path: str, limit: int) -> Cause:
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", path)


def too_many(path: str, count: int, limit: int) -> Cause:
    noun = "item" if limit == 1 else "items"
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} {noun}", path)


def _tail(detail: str) -> str:
    return f": {detail}" if detail else ""


# -- causes of whole values, which several kinds share ---------------------------------------------------------


def label_causes(path: str, labels: Mapping[str, str]) -> list[Cause]:
    """Keys and values of a label map or of an equality selector; the path names the map, never the key."""
    causes: list[Cause] = []
    for key, value in sorted(labels.items()):
        causes += invalid_values(path, key, qualified_name(key))
        causes += invalid_values(path, value, label_value(value))
    return causes


def optional_causes(path: str, value: str | None, check: Callable[[str], list[str]]) -> list[Cause]:
    """Of a field that may be absent; empty is not absent."""
    return [] if value is None else invalid_values(path, value, check(value))


def protocol_causes(path: str, value: str) -> list[Cause]:
    """Of the protocol of a port, after defaulting."""
    if not value:
        return [required(path)]
    return [] if value in PROTOCOLS else [not_supported(path, value, PROTOCOLS)]


def legacy_address(path: str, value: str, known: Collection[str]) -> list[Cause]:
    """Strict for what is new; a ``known`` value, which an older server let in, may stay as it is."""
    if value in known:
        return [] if address(value) else [invalid_value(path, value, IP_TEXT)]
    return invalid_values(path, value, ip_address(value))


def legacy_cidr(path: str, value: str, known: Collection[str]) -> list[Cause]:
    """The same for a network."""
    if value in known:
        return [] if network(value) else [invalid_value(path, value, CIDR_TEXT)]
    return invalid_values(path, value, cidr(value))
