"""The cache's certificate, signed by itself and made once for a lab.

BuildKit takes a registry mirror over plain HTTP only when dockerd counts it as insecure, and the list of insecure
registries must be free for the flag that a project's own pipeline gives to its daemon (dockerd refuses to start with
both). So the cache speaks TLS, and daemons in jobs find its certificate in certs.d.
"""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from lab.engines.docker.site import Site

_SECRET = "cache-certificate"  # noqa: S105 - the name under which it is kept
_DAYS = 3650
_MARK = "-----BEGIN CERTIFICATE-----"


class Certificate(NamedTuple):
    """Two PEM texts."""

    certificate: str
    key: str


def of(site: Site) -> Certificate:
    """The certificate of this lab's cache."""
    text = site.state.secret(_SECRET)
    if not text or _MARK not in text:
        text = _make(site.names.cache)
        site.state.put_secret(_SECRET, text)
    key, _, certificate = text.partition(_MARK)
    return Certificate(_MARK + certificate, key)


def _make(name: str) -> str:
    from cryptography import x509  # noqa: PLC0415 - 30 ms, once in the life of a lab
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # the clocks of a machine that slept may be behind
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (secret + certificate.public_bytes(pem)).decode()
