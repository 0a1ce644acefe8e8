from __future__ import annotations

import datetime as dt
import stat

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lab.emulator import tls


def certificate(folder):
    (path,) = folder.glob("server-*.crt")
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_are_made_once(tmp_path):
    tls.server_context(tmp_path, ["localhost", "127.0.0.1"])
    first = certificate(tmp_path), tls.ca_path(tmp_path).read_bytes()
    tls.server_context(tmp_path, ["localhost", "127.0.0.1"])
    assert (certificate(tmp_path), tls.ca_path(tmp_path).read_bytes()) == first


def test_the_certificate_carries_its_names_and_is_signed_by_the_authority(tmp_path):
    tls.server_context(tmp_path, ["localhost", "127.0.0.1"])
    found = certificate(tmp_path)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    ca = x509.load_pem_x509_certificate(tls.ca_path(tmp_path).read_bytes())
    found.verify_directly_issued_by(ca)
    assert isinstance(found.public_key(), ec.EllipticCurvePublicKey)


def test_keys_are_secret(tmp_path):
    tls.server_context(tmp_path, ["localhost"])
    keys = list(tmp_path.glob("*.key"))
    assert len(keys) == 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_certificate_near_its_end_is_renewed_under_the_same_authority(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "_SERVER_DAYS", 20)
    tls.server_context(tmp_path, ["localhost"])
    old, ca = certificate(tmp_path), tls.ca_path(tmp_path).read_bytes()
    monkeypatch.setattr(tls, "_SERVER_DAYS", 365)
    tls.server_context(tmp_path, ["localhost"])
    left = certificate(tmp_path).not_valid_after_utc - dt.datetime.now(dt.timezone.utc)
    assert left > dt.timedelta(days=300)
    assert certificate(tmp_path) != old
    assert tls.ca_path(tmp_path).read_bytes() == ca


def test_a_damaged_file_is_replaced(tmp_path):
    tls.server_context(tmp_path, ["localhost"])
    (tmp_path / "ca.crt").write_text("nonsense")
    tls.server_context(tmp_path, ["localhost"])
    ca = x509.load_pem_x509_certificate(tls.ca_path(tmp_path).read_bytes())
    certificate(tmp_path).verify_directly_issued_by(ca)
