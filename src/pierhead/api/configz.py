"""What ``/configz`` tells, the path at which components of Kubernetes show how they were started: of ours, the ``Network``."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Final, get_args, get_type_hints

import msgspec

from pierhead.api import Tree
from pierhead.api.network import Network

PATH: Final = "/configz"
_NAME: Final = "pierhead.dev"


def tell(network: Network) -> Tree:
    """Ranges as texts, field names as in JSON."""
    return {_NAME: msgspec.to_builtins(network, enc_hook=_told)}


def read(tree: Tree) -> Network:
    """Raises:
    ValueError: it is no configuration of ours.
    """
    try:
        told, kinds = tree[_NAME], get_type_hints(Network)
        fields = [found for found in msgspec.structs.fields(Network) if found.encode_name in told]
        return Network(**{found.name: _read(kinds[found.name], told[found.encode_name]) for found in fields})
    except (KeyError, TypeError) as error:
        raise ValueError("no configuration of a region") from error


def _told(value: object) -> object:
    return [value.start, value.stop] if isinstance(value, range) else str(value)


def _read(kind: Any, value: Any) -> Any:
    if kind is range:
        return range(*value)
    if isinstance(value, str):
        return value
    return tuple(value if get_args(kind)[0] is str else map(ip_network, value))
