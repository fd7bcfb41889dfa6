"""The DTLS certificate: kept over restarts, private, renewed in time."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from media.certificate import RENEW_BEFORE, DtlsCertificate
from media.dtls import DtlsConnection, DtlsContext


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_restart_keeps_certificate_and_fingerprints(tmp_path: Path) -> None:
    first = DtlsCertificate.open(tmp_path)
    second = DtlsCertificate.open(tmp_path)
    assert (first.origin, second.origin) == ("created", "loaded")
    assert first.fingerprints == second.fingerprints
    assert [name for name, _ in first.fingerprints] == ["sha-256", "sha-384", "sha-512"]
    assert [len(value) for _, value in first.fingerprints] == [95, 143, 191]


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    DtlsCertificate.open(tmp_path)
    path = tmp_path / "dtls.pem"
    assert _mode(path) == 0o600
    path.chmod(0o644)
    DtlsCertificate.open(tmp_path)
    assert _mode(path) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["dtls.pem"]


def test_a_certificate_near_its_end_is_renewed(tmp_path: Path) -> None:
    first = DtlsCertificate.open(tmp_path)
    just_before = first.expires - RENEW_BEFORE - timedelta(seconds=1)
    assert DtlsCertificate.open(tmp_path, now=just_before).origin == "loaded"
    renewed = DtlsCertificate.open(tmp_path, now=just_before + timedelta(seconds=1))
    assert renewed.origin == "renewed"
    assert renewed.fingerprints != first.fingerprints
    assert DtlsCertificate.open(tmp_path).fingerprints == renewed.fingerprints


def test_a_certificate_of_the_future_is_renewed(tmp_path: Path) -> None:
    DtlsCertificate.open(tmp_path)
    past = datetime.now(UTC) - timedelta(days=30)
    assert DtlsCertificate.open(tmp_path, now=past).origin == "renewed"


@pytest.mark.parametrize("damage", ["empty", "garbage", "torn", "other key"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    first = DtlsCertificate.open(tmp_path)
    path = tmp_path / "dtls.pem"
    pem = path.read_bytes()
    foreign = DtlsCertificate.generate().to_pem()
    split = pem.index(b"-----BEGIN CERTIFICATE")
    path.write_bytes(
        {
            "empty": b"",
            "garbage": b"\x00\xff" * 500,
            "torn": pem[: len(pem) - 200],
            "other key": foreign[: foreign.index(b"-----BEGIN CERTIFICATE")] + pem[split:],
        }[damage]
    )
    replaced = DtlsCertificate.open(tmp_path)
    assert replaced.origin == "replaced"
    assert replaced.fingerprints != first.fingerprints
    assert _mode(path) == 0o600


def test_a_directory_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        DtlsCertificate.open(tmp_path / "missing")


def test_a_loaded_certificate_shakes_hands(tmp_path: Path) -> None:
    DtlsCertificate.open(tmp_path)
    server = DtlsContext(DtlsCertificate.open(tmp_path))
    client = DtlsContext(DtlsCertificate.generate())
    ours = DtlsConnection("server", server, client.certificate.fingerprints)
    theirs = DtlsConnection("client", client, server.certificate.fingerprints)
    theirs.start()
    for _ in range(10):
        for datagram in theirs.poll_datagrams():
            ours.handle_datagram(datagram)
        for datagram in ours.poll_datagrams():
            theirs.handle_datagram(datagram)
    assert (ours.state, theirs.state) == ("connected", "connected")


def test_the_repr_shows_no_key() -> None:
    certificate = DtlsCertificate.generate()
    assert "PRIVATE" not in repr(certificate)
    assert set(vars(certificate)) >= {"origin"}
    assert "key" not in repr(certificate)
