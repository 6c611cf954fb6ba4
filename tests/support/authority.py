"""A certificate authority for a test run: files for clients, contexts for servers."""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = ("localhost", "127.0.0.1", "::1")


class Authority:
    """Signs what the tests need.

    Attributes:
        path: A file with its certificate.
        name: What a person would call it.
        fingerprint: SHA-256 of its certificate, in hexadecimal.
        pin: SHA-256 of its public key, in base64.
    """

    def __init__(self, directory: Path, below: Authority | None = None) -> None:
        self._directory = directory
        self._numbers = count()
        self.ca: trustme.CA = below.ca.create_child_ca() if below else trustme.CA()
        self.path = str(directory / ("intermediate.pem" if below else "ca.pem"))
        self.ca.cert_pem.write_to_path(self.path)
        certificate = x509.load_pem_x509_certificate(self.ca.cert_pem.bytes())
        self.name = ", ".join(str(attribute.value) for attribute in certificate.subject)
        self.fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
        self.pin = b64encode(hashlib.sha256(_public_key(certificate)).digest()).decode()

    @property
    def option(self) -> dict[str, object]:
        """The `ssl` option of a client that trusts it."""
        return {"certificate_authorities": [self.path]}

    def server(
        self,
        *names: str,
        common_name: str | None = None,
        expired: bool = False,
        shows_authority: bool = False,
        wants_certificate: bool = False,
    ) -> ssl.SSLContext:
        """Return a server's context for these names, or those of this machine; or with a common name only."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificate = self.ca.issue_cert(
            *(names or (() if common_name else HERE)), common_name=common_name, not_after=yesterday if expired else None
        )
        path = self._directory / f"server{next(self._numbers)}.pem"
        chain = [*certificate.cert_chain_pems, *([self.ca.cert_pem] if shows_authority else [])]
        path.write_bytes(b"".join(pem.bytes() for pem in [certificate.private_key_pem, *chain]))
        context = server_of(str(path))
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context

    def client(
        self, name: str = "client@example.org", passphrase: str = "", *, days: tuple[int, int] = (-1, 30)
    ) -> dict[str, object]:
        """Return the `ssl` option of a client with a certificate that is valid from and to so many days from now."""
        begins, ends = (datetime.now(UTC) + timedelta(days=day) for day in days)
        certificate = self.ca.issue_cert(name, not_before=begins, not_after=ends)
        path, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        path.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        key.write_bytes(encrypted(certificate.private_key_pem.bytes(), passphrase))
        return {**self.option, "certificate": str(path), "key": str(key)}


def encrypted(key: bytes, passphrase: str, *, traditional: bool = False) -> bytes:
    """Return the private key as PEM that takes this passphrase to open; as it is without one."""
    if not passphrase:
        return key
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )


class Homemade:
    """A certificate as no tool should make it: signed by itself, with wrong dates or odd extensions.

    Args:
        directory: For its file.
        by: Who signs it instead.
        days: From and to when it is valid, from now.
        extensions: Instead of the subject alternative name.

    Attributes:
        path: A file with it, its key, and who has signed it.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "localhost",
        *,
        by: Homemade | None = None,
        days: tuple[int, int] = (-1, 1),
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = by or self
        begins, ends = (datetime.now(UTC) + timedelta(days=day) for day in days)
        builder = x509.CertificateBuilder(
            signer.name,
            self.name,
            self.key.public_key(),
            x509.random_serial_number(),
            begins,
            ends,
        )
        for extension in extensions or [x509.SubjectAlternativeName([x509.DNSName(name)])]:
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(signer.key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.path = str(directory / f"{name}.pem")
        Path(self.path).write_bytes(self.pem + (by.pem if by else b"") + key)

    def server(self) -> ssl.SSLContext:
        """Return a server's context with it."""
        return server_of(self.path)


def server_of(path: str) -> ssl.SSLContext:
    """Return a server's context with the certificate and the key in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
