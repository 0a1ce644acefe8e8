"""The emulator's own certificate authority and the server certificates that it signs.

One authority per data folder: a kubeconfig that carries its certificate stays valid while the folder lives.
Keys are EC P-256: they are made in a millisecond, where RSA would take up to a second of the start.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 365
_RENEW_BEFORE = dt.timedelta(days=30)
_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Authority:
    """Paths of a certificate authority's certificate and key, both PEM."""

    certificate: Path
    key: Path = field(repr=False)


def ca_path(folder: Path) -> Path:
    """Where the authority's certificate lies (PEM); it exists after `authority` or `server_context`."""
    return folder / "ca.crt"


def authority(folder: Path) -> Authority:
    """The certificate authority of ``folder``, made when it is missing, unreadable or about to expire."""
    found = Authority(ca_path(folder), folder / "ca.key")
    if not _usable(found.certificate, found.key, ()):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_authority(found)
    return found


def server_context(folder: Path, names: Sequence[str]) -> ssl.SSLContext:
    """A server's TLS context whose certificate carries ``names`` (DNS names and IP addresses).

    The certificate is kept in ``folder`` and made anew when it lacks a name, was signed by another authority, or
    has less than 30 days to live. Speaks HTTP/1.1 only.
    """
    ca = authority(folder)
    stem = f"server-{_digest(names)}"
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    if not _usable(certificate, key, names, issuer=ca.certificate):
        _make_server(ca, certificate, key, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _digest(names: Sequence[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:12]


def _usable(certificate: Path, key: Path, names: Sequence[str], *, issuer: Path | None = None) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        if _private(key).public_key() != found.public_key():
            return False
        if issuer is not None:
            ca = x509.load_pem_x509_certificate(issuer.read_bytes())
            found.verify_directly_issued_by(ca)
            if not isinstance(ca.public_key(), ec.EllipticCurvePublicKey):
                return False
    except (OSError, ValueError, TypeError, _invalid_signature()):
        return False
    left = found.not_valid_after_utc - dt.datetime.now(dt.timezone.utc)
    return left > _RENEW_BEFORE and set(names) <= _names_of(found)


def _invalid_signature() -> type[Exception]:
    from cryptography.exceptions import InvalidSignature

    return InvalidSignature


def _names_of(certificate: x509.Certificate) -> set[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _private(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path}: not an EC key")  # noqa: TRY004 - the caller treats it as an unusable file
    return key


def _make_authority(ca: Authority) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("lab emulator CA")
    certificate = (
        _builder(name, name, key, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(certificate, key, ca.certificate, ca.key)


def _make_server(ca: Authority, certificate: Path, key_path: Path, names: Sequence[str]) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
    issuer_key = _private(ca.key)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        _builder(_name(names[0]), issuer.subject, key, _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    _write_pair(signed, key, certificate, key_path)


def _name(common_name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = dt.datetime.now(dt.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=sign_certificates, crl_sign=sign_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, path: Path, key_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_path, private, 0o600)
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
