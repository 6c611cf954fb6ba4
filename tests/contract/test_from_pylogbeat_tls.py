"""What the guide for users of PyLogBeat says of it and of us about TLS: above all, what leaves in plain text."""

from __future__ import annotations

import inspect
import ssl
import sys
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from pylogbeat import PyLogBeatClient

from beats_core import Client, ConnectionLost, OptionError
from support.authority import Authority
from support.clients import numbered
from support.pylogbeats import line_of, pylogbeat
from support.scripted import Peer, Scripted, acknowledged, answering

SECRET = [{"id": 0, "password": "correct horse battery staple"}]


@pytest.fixture
def no_pem(tmp_path: Path) -> str:
    """A file that is there and holds no certificate, as after a botched deployment."""
    path = tmp_path / "empty.pem"
    path.touch()
    return str(path)


@pytest.mark.parametrize("wrong", ["ca_certs", "keyfile", "certfile"])
@pytest.mark.parametrize("exists", [True, False], ids=["no PEM", "missing"])
def test_pylogbeat_sends_plain_text_after_a_certificate_could_not_be_read(
    authority: Authority, no_pem: str, wrong: str, *, exists: bool
) -> None:
    own = authority.client()
    files = {"ca_certs": authority.path, "certfile": own["certificate"], "keyfile": own["key"]}
    files[wrong] = no_pem if exists else "/nowhere.pem"
    with Scripted(answering(acknowledged)) as receiver:
        old = pylogbeat(receiver, ssl_enable=True, **files)
        with pytest.raises(OSError, match=r"No such file|\[SSL|\[X509|NO_CERTIFICATE"):
            old.connect()
        old.send(SECRET)  # a program that logs the error and goes on
        old.close()
        assert SECRET == receiver.windows[0].events  # read off a TCP connection without TLS

        names = {"certificate_authorities": "ca_certs", "certificate": "certfile", "key": "keyfile"}
        with pytest.raises(OptionError, match="ssl"):
            Client(receiver.host, ssl={name: files[file] for name, file in names.items()})
        assert 1 == len(receiver.peers)


def test_after_a_failed_handshake_neither_sends_anything(authority: Authority, stranger: Authority) -> None:
    with Scripted(answering(acknowledged), tls=stranger.server()) as receiver:
        old = pylogbeat(receiver, ssl_enable=True, ca_certs=authority.path)
        with pytest.raises(ssl.SSLCertVerificationError):
            old.connect()
        for _ in range(2):
            with pytest.raises(OSError, match="Bad file descriptor"):
                old.send(SECRET)
        old.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            old.connect()
        old.close()
        with pytest.raises(ConnectionLost), Client(receiver.host, ssl=authority.option) as new:
            new.send(SECRET)

        assert [] == receiver.windows
        assert not any(b"battery" in peer.wire for peer in receiver.peers)


def test_pylogbeat_accepts_the_certificate_of_any_host(authority: Authority) -> None:
    with Scripted(answering(acknowledged), tls=authority.server("elsewhere.example")) as receiver:
        with pylogbeat(receiver, ssl_enable=True, ssl_verify=True, ca_certs=authority.path) as old:
            old.send(SECRET)
        with pytest.raises(ConnectionLost) as lost, Client(receiver.host, ssl=authority.option):
            pass
        assert isinstance(lost.value.__cause__, ssl.SSLCertVerificationError)
        with Client(receiver.host, ssl={**authority.option, "verification_mode": "certificate"}) as new:
            assert 1 == new.send(SECRET)


def test_only_ours_names_the_host_it_wants(authority: Authority) -> None:
    named: list[str | None] = []
    context = authority.server()
    context.sni_callback = lambda _, name, __: named.append(name)
    with Scripted(answering(acknowledged), tls=context) as receiver:
        with pylogbeat(receiver, ssl_enable=True, ca_certs=authority.path) as old:
            old.send(SECRET)
        with Client(f"localhost:{receiver.port}", ssl=authority.option) as new:
            new.send(SECRET)
    assert [None, "localhost"] == named


def test_pylogbeat_verifies_with_ca_certs_also_when_told_not_to(authority: Authority, stranger: Authority) -> None:
    with Scripted(answering(acknowledged), tls=stranger.server()) as receiver:
        old = pylogbeat(receiver, ssl_enable=True, ssl_verify=False, ca_certs=authority.path)
        with pytest.raises(ssl.SSLCertVerificationError):
            old.connect()
        old.close()
        with pylogbeat(receiver, ssl_enable=True, ssl_verify=False) as old:
            old.send(SECRET)
        with Client(receiver.host, ssl={**authority.option, "verification_mode": "none"}) as new:
            assert 1 == new.send(SECRET)


def shown(peer: Peer) -> bool:
    """Tell whether the client has shown a certificate."""
    return bool(peer.tls and peer.tls.getpeercert())


def test_both_show_a_certificate_of_their_own(authority: Authority) -> None:
    own = authority.client()
    files = {"ca_certs": authority.path, "certfile": own["certificate"], "keyfile": own["key"]}
    with Scripted(answering(acknowledged), tls=authority.server(wants_certificate=True)) as receiver:
        with pylogbeat(receiver, ssl_enable=True, **files) as old:
            old.send(SECRET)
        with Client(receiver.host, ssl=own) as new:
            new.send(SECRET)
        assert [True, True] == [shown(peer) for peer in receiver.peers]


def test_only_ours_opens_an_encrypted_key(authority: Authority, tmp_path: Path) -> None:
    own = authority.client()
    key = load_pem_private_key(Path(str(own["key"])).read_bytes(), None)
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open")))
    with Scripted(answering(acknowledged), tls=authority.server(wants_certificate=True)) as receiver:
        with Client(receiver.host, ssl={**own, "key": str(encrypted), "key_passphrase": "open"}) as new:
            assert 1 == new.send(SECRET)
        assert shown(receiver.peers[0])
    assert not [name for name in inspect.signature(PyLogBeatClient).parameters if "pass" in name]


def test_pylogbeat_forgets_a_certificate_whose_key_is_in_the_same_file(authority: Authority, tmp_path: Path) -> None:
    own = authority.client()
    both = tmp_path / "both.pem"
    both.write_bytes(Path(str(own["key"])).read_bytes() + Path(str(own["certificate"])).read_bytes())
    context = authority.server(wants_certificate=True)
    context.verify_mode = ssl.CERT_OPTIONAL
    with Scripted(answering(acknowledged), tls=context) as receiver:
        with pylogbeat(receiver, ssl_enable=True, ca_certs=authority.path, certfile=str(both)) as old:
            old.send(SECRET)
        with Client(receiver.host, ssl={**authority.option, "certificate": str(both)}) as new:
            new.send(SECRET)
        assert [False, True] == [shown(peer) for peer in receiver.peers]


def test_both_trust_only_the_given_authorities_and_without_them_the_systems(authority: Authority) -> None:
    with Scripted(answering(acknowledged), tls=authority.server()) as receiver:
        old = pylogbeat(receiver, ssl_enable=True)
        with pytest.raises(ssl.SSLCertVerificationError):
            old.connect()
        old.close()
        with pytest.raises(ConnectionLost), Client(receiver.host, ssl=True):
            pass
        with pylogbeat(receiver, ssl_enable=True, ca_certs=authority.path) as old:
            loaded = line_of(old).context.get_ca_certs()  # type: ignore[attr-defined] # of an SSLSocket
            assert 1 == len(loaded)
        for given in (authority.path, [authority.path], Path(authority.path).read_text()):
            with Client(receiver.host, ssl={"certificate_authorities": given}) as new:
                assert 1 == new.send(SECRET)


def test_verify_flags_replace_the_defaults_and_go_into_a_context_of_ones_own(authority: Authority) -> None:
    flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    with Scripted(answering(acknowledged), tls=authority.server()) as receiver:
        arguments: dict[str, Any] = {"ssl_enable": True, "ca_certs": authority.path, "ssl_verify_flags": flags}
        with pylogbeat(receiver, **arguments) as old:
            assert flags == line_of(old).context.verify_flags  # type: ignore[attr-defined] # of an SSLSocket
        context = ssl.create_default_context(cafile=authority.path)
        context.verify_flags = flags
        with Client(receiver.host, ssl=context) as new:
            assert 1 == new.send(numbered(1))


def plain_authority(directory: Path) -> tuple[str, ssl.SSLContext]:
    """An authority without any extension but that it is one, as `openssl req -x509` made them for years; a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company")])
    now = datetime.now(UTC)

    def sign(name: x509.Name, its_key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(ca_name, name, its_key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(extension, critical=False).sign(key, SHA256()).public_bytes(Encoding.PEM)

    own_key = ec.generate_private_key(ec.SECP256R1())
    (directory / "ca.pem").write_bytes(sign(ca_name, key, x509.BasicConstraints(ca=True, path_length=None)))
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    (directory / "server.pem").write_bytes(
        own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]), own_key, host)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return str(directory / "ca.pem"), context


def test_from_python_3_13_on_pylogbeat_refuses_plain_authorities_without_flags(tmp_path: Path) -> None:
    path, context = plain_authority(tmp_path)
    with Scripted(answering(acknowledged), tls=context) as receiver:
        old = pylogbeat(receiver, ssl_enable=True, ca_certs=path)
        with pytest.raises(ssl.SSLCertVerificationError) if sys.version_info >= (3, 13) else nullcontext():
            old.connect()
        old.close()
        with pylogbeat(receiver, ssl_enable=True, ca_certs=path, ssl_verify_flags=ssl.VERIFY_DEFAULT) as old:
            old.send(SECRET)
        with Client(receiver.host, ssl={"certificate_authorities": path}) as new:
            assert 1 == new.send(SECRET)


def test_without_ssl_enable_pylogbeat_ignores_the_files_and_ours_never_does(authority: Authority) -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver, ca_certs=authority.path) as old:
        old.send(SECRET)
        assert SECRET == receiver.windows[0].events
    with Scripted(answering(acknowledged), tls=authority.server()) as receiver:
        with Client(receiver.host, ssl=authority.option) as new:
            new.send(SECRET)
        assert b"battery" not in receiver.peers[0].wire
