"""Credentials as files of the data directory: the CA, the server certificate, the tokens."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from pierhead.errors import UsageError
from pierhead.pki.files import write_private

RENEW_BEFORE = timedelta(days=30)
"""A server certificate with less than this left is made anew at the next start."""


class Credentials(msgspec.Struct, frozen=True):
    """Where the files are, and the tokens of the administrator and the controllers. Nodes get theirs from who starts them."""

    ca: Path
    """The CA certificate in PEM; what clients trust."""
    certificate: Path
    key: Path
    admin: str
    """Bearer token of the administrator, the one in the kubeconfig."""
    controller: str


def ensure(directory: Path, names: Iterable[str], now: datetime) -> Credentials:
    """Reads the credentials in ``directory`` or makes what is missing, outdated or not valid for all of ``names``.

    ``names``: the DNS names and IP addresses under which the API is reached. The CA outlives its server certificates, so
    that a kubeconfig stays good when an address is added.

    Raises:
        UsageError: a file is there and cannot be read as what it should be.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = sorted(set(names))
    if not _good(directory, wanted, now):
        from pierhead.pki import certificates

        certificates.issue(directory, wanted, now)
    tokens = _tokens(directory / "tokens.json")
    return Credentials(
        ca=directory / "ca.crt",
        certificate=directory / "server.crt",
        key=directory / "server.key",
        admin=tokens["admin"],
        controller=tokens["controller"],
    )


def _tokens(path: Path) -> dict[str, str]:
    if not path.exists():
        made = {name: secrets.token_urlsafe(32) for name in ("admin", "controller")}
        write_private(path, json.dumps(made, indent=1).encode())
    try:
        found = json.loads(path.read_bytes())
        tokens = {name: str(found[name]) for name in ("admin", "controller")}
    except (ValueError, KeyError, TypeError):
        tokens = {}
    if len({*filter(None, tokens.values())}) < 2:  # none empty, no two the same
        raise UsageError(f"{path} does not hold this region's tokens", "remove it; new tokens are made")
    return tokens


def _good(directory: Path, wanted: list[str], now: datetime) -> bool:
    """Whether the server certificate covers ``wanted`` and lasts. Its facts stand beside it: reading X.509 costs 90 ms."""
    if not all((directory / name).exists() for name in ("ca.crt", "ca.key", "server.crt", "server.key", "server.json")):
        return False
    try:
        facts = json.loads((directory / "server.json").read_bytes())
        lasts = datetime.fromisoformat(facts["notAfter"]) - now > RENEW_BEFORE
        return lasts and set(wanted) <= set(facts["names"])
    except (ValueError, KeyError, TypeError):
        return False
