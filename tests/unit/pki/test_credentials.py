"""Certificates and tokens: made once, renewed when needed, never half written."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pierhead.errors import UsageError
from pierhead.pki import certificates
from pierhead.pki.credentials import ensure
from pierhead.pki.files import write_private

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


def test_administrator_and_controllers_have_tokens_of_their_own(tmp_path: Path) -> None:
    found = ensure(tmp_path, ["127.0.0.1"], NOW)
    assert len({found.admin, found.controller}) == 2


def test_the_server_certificate_fits_its_key_and_its_ca(tmp_path: Path) -> None:
    found = ensure(tmp_path, ["127.0.0.1"], NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key)
    assert ssl.create_default_context(cafile=str(found.ca)).cert_store_stats()["x509_ca"] == 1


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"admin": "x"}',
        b'{"admin": "", "controller": "y"}',
        b'{"admin": "x", "controller": "x"}',
    ],
)
def test_broken_tokens_are_said_not_replaced(tmp_path: Path, content: bytes) -> None:
    ensure(tmp_path, ["127.0.0.1"], NOW)
    (tmp_path / "tokens.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"tokens\.json"):
        ensure(tmp_path, ["127.0.0.1"], NOW)


def test_an_interrupted_renewal_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the next start asks for no more than the old certificate covers."""
    found = ensure(tmp_path, ["127.0.0.1"], NOW)

    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(certificates, "_pem", broken)
        with pytest.raises(OSError, match="full"):
            ensure(tmp_path, ["127.0.0.1", "192.0.2.1"], NOW)
    ensure(tmp_path, ["127.0.0.1"], NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(found.certificate, found.key)


def test_what_could_not_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(OSError, match="full"):
        write_private(tmp_path / "secret", b"x")
    assert list(tmp_path.iterdir()) == []
