"""X.509: the region's CA and its server certificate. Imported only when one of them must be made: it costs 90 ms."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from pierhead.errors import UsageError
from pierhead.pki.files import write_private

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)


def issue(directory: Path, wanted: list[str], now: datetime) -> None:
    """Makes a server certificate for ``wanted``, and the CA when there is none, and writes both into ``directory``.

    Raises:
        UsageError: the CA that is there cannot be read.
    """
    (directory / "server.json").unlink(
        missing_ok=True
    )  # an interrupted renewal may leave a key without its certificate
    authority, authority_key = _authority(directory, now)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server_certificate(wanted, key, authority, authority_key, now)
    write_private(directory / "server.key", _pem_key(key))
    write_private(directory / "server.crt", _pem(certificate) + _pem(authority))
    facts = {"names": wanted, "notAfter": (now + SERVER_LIFE).isoformat()}
    write_private(directory / "server.json", json.dumps(facts, indent=1).encode())


def _authority(directory: Path, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    if (directory / "ca.key").exists() and (directory / "ca.crt").exists():
        try:
            key = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), None)
            found = x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())
        except ValueError as error:
            raise UsageError(f"{directory} holds no usable CA", f"remove {directory}; a new CA is made") from error
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return found, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pierhead-ca")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    built = (
        _builder(name, name, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(directory / "ca.key", _pem_key(key))
    write_private(directory / "ca.crt", _pem(built))
    return built, key


def _server_certificate(
    wanted: list[str],
    key: EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "pierhead-apiserver")])
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key, now, SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of clients may be behind
        .not_valid_after(now + life)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
