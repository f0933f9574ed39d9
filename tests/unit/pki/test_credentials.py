"""Certificates and tokens: made once, renewed when needed, never half written."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.pki.credentials import ensure

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    first = ensure(tmp_path, ["127.0.0.1", "localhost"], NOW)
    before = contents(tmp_path)
    assert ensure(tmp_path, ["localhost"], NOW) == first
    assert contents(tmp_path) == before


def test_every_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    ensure(tmp_path, ["127.0.0.1"], NOW)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_new_address_keeps_the_ca_and_the_tokens(tmp_path: Path) -> None:
    first = ensure(tmp_path, ["127.0.0.1"], NOW)
    authority, certificate = first.ca.read_bytes(), first.certificate.read_bytes()
    second = ensure(tmp_path, ["127.0.0.1", "192.0.2.1"], NOW)
    assert second == first
    assert first.ca.read_bytes() == authority
    assert first.certificate.read_bytes() != certificate


def test_a_certificate_near_its_end_is_renewed(tmp_path: Path) -> None:
    certificate = ensure(tmp_path, ["127.0.0.1"], NOW).certificate.read_bytes()
    assert ensure(tmp_path, ["127.0.0.1"], NOW + timedelta(days=300)).certificate.read_bytes() == certificate
    assert ensure(tmp_path, ["127.0.0.1"], NOW + timedelta(days=340)).certificate.read_bytes() != certificate


def test_the_three_identities_have_tokens_of_their_own(tmp_path: Path) -> None:
    found = ensure(tmp_path, ["127.0.0.1"], NOW)
    assert len({found.admin, found.controller, found.node}) == 3


def test_the_server_certificate_fits_its_key_and_its_ca(tmp_path: Path) -> None:
    found = ensure(tmp_path, ["127.0.0.1"], NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key)
    assert ssl.create_default_context(cafile=str(found.ca)).cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"admin": "x"}'])
def test_broken_tokens_are_said_not_replaced(tmp_path: Path, content: bytes) -> None:
    ensure(tmp_path, ["127.0.0.1"], NOW)
    (tmp_path / "tokens.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"tokens\.json"):
        ensure(tmp_path, ["127.0.0.1"], NOW)
