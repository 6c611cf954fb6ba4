"""A certificate authority for a test run: files for clients, contexts for servers."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """Signs what the tests need; its own certificate is in `path`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ca = trustme.CA()
        self.path = str(directory / "ca.pem")
        self._ca.cert_pem.write_to_path(self.path)

    @property
    def option(self) -> dict[str, object]:
        """The `ssl` option of a client that trusts it."""
        return {"certificate_authorities": [self.path]}

    def server(self, *names: str, expired: bool = False, wants_certificate: bool = False) -> ssl.SSLContext:
        """Return a server's context for these names, or those of this machine."""
        yesterday = datetime.now(UTC) - timedelta(days=1)
        certificate = self._ca.issue_cert(
            *(names or ("localhost", "127.0.0.1", "::1")), not_after=yesterday if expired else None
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            self._ca.configure_trust(context)
        return context

    def client(self, name: str = "client@example.org") -> dict[str, object]:
        """Return the `ssl` option of a client with a certificate."""
        certificate = self._ca.issue_cert(name)
        path, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        path.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(str(key))
        return {**self.option, "certificate": str(path), "key": str(key)}
