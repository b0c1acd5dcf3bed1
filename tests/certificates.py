"""Certificates that the tests make: an authority of their own, and a server's certificate, sound or with one thing wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Certificate", "write_certificates"]

Certificate = Literal["valid", "expired", "other name", "unknown authority"]


def write_certificates(folder: Path, kind: Certificate = "valid") -> None:
    """Make an authority (`ca.pem`) and the server's certificate with its key (`server.pem`), sound or with one thing wrong."""
    now = datetime.now(UTC)
    start, end = now - timedelta(days=2), now + timedelta(days=2 if kind != "expired" else -1)
    known, known_key = _authority("gd's tests", now)
    issuer, issuer_key = _authority("nobody that is known", now) if kind == "unknown authority" else (known, known_key)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("mail.other.example")]
    if kind != "other name":
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    made = (
        _certificate("server", key, issuer.subject, start, end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(known.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").touch(0o600)
    (folder / "server.pem").write_bytes(private + made.public_bytes(serialization.Encoding.PEM))


def _authority(name: str, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)  # signs certificates and revocations
    made = (
        _certificate(name, key, subject, now - timedelta(days=3), now + timedelta(days=3))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
