"""Set-ups in which a sender finds its receiver, or does not: what docs/how-to/check-the-connection.md shows.

Each is real: something listens, or does not, and the command is run against it as a reader would run it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from beats_core import Receiver
from support.scripted import Peer, Scripted

EXPIRED = datetime(2025, 1, 31, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    """A command line for what is set up.

    Attributes:
        arguments: Behind `beats test`.
        port: The one number in them that is another each time.
        environ: What the reader sets before it.
    """

    arguments: str
    port: int = 0
    environ: Mapping[str, str] = field(default_factory=dict)


Setup = Callable[[Path], AbstractContextManager[Run]]
SETUPS: dict[str, Setup] = {}


def _setup(prepare: Callable[[Path], Iterator[Run]]) -> Setup:
    """Register a set-up under its function's name. It is given the folder in which the command runs."""
    SETUPS[prepare.__name__] = contextmanager(prepare)
    return SETUPS[prepare.__name__]


def _server(
    folder: Path, *names: str, expires: datetime | None = None, wants_certificate: bool = False
) -> ssl.SSLContext:
    """Return the context of a server, whose authority is in ca.pem."""
    authority = trustme.CA(organization_name="Example", organization_unit_name="CA")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    in_three_months = datetime.now(UTC) + timedelta(days=90, hours=1)
    authority.issue_cert(*(names or ("127.0.0.1",)), not_after=expires or in_three_months).configure_cert(context)
    if wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


def _output(port: int, more: str = "") -> Run:
    return Run(f"output --hosts 127.0.0.1:{port}{more}", port)


@_setup
def the_options(folder: Path) -> Iterator[Run]:
    yield Run("config --timeout 10", environ={"BEATS_URL": "beats://ls1:5044,ls2:5044?loadbalance=true"})


@_setup
def a_bad_variable(folder: Path) -> Iterator[Run]:
    yield Run("output", environ={"BEATS_TIMEOUT": "soon"})


@_setup
def it_works(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder)) as receiver:
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def nothing_listens(folder: Path) -> Iterator[Run]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield _output(port)


@_setup
def the_name_does_not_resolve(folder: Path) -> Iterator[Run]:
    yield Run("output --hosts logstash.invalid:5044")


@_setup
def nobody_answers(folder: Path) -> Iterator[Run]:
    """A listener whose queue is full answers no one, as a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield _output(listener.getsockname()[1], " --timeout 1")


@_setup
def the_port_wants_tls(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder)) as receiver:
        yield _output(receiver.port)


@_setup
def the_port_speaks_no_tls(folder: Path) -> Iterator[Run]:
    _server(folder)  # for its ca.pem
    with Receiver() as receiver:
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def another_authority(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder)) as receiver:
        another = trustme.CA(organization_name="Another", organization_unit_name="CA")
        another.cert_pem.write_to_path(str(folder / "ca.pem"))
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def another_name(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder, "ls1.example.com", "ls2.example.com")) as receiver:
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def an_expired_certificate(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder, expires=EXPIRED)) as receiver:
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def a_client_certificate_is_required(folder: Path) -> Iterator[Run]:
    with Receiver(ssl=_server(folder, wants_certificate=True)) as receiver:
        yield _output(receiver.port, " --certificate-authorities ca.pem")


@_setup
def a_web_server(folder: Path) -> Iterator[Run]:
    def refuse(peer: Peer) -> None:
        peer.take()
        peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        peer.wait_for_end()

    with Scripted(Peer.wait_for_end, refuse) as server:
        yield _output(server.port)


@_setup
def never_an_acknowledgement(folder: Path) -> Iterator[Run]:
    with Scripted(Peer.wait_for_end) as silent:
        yield _output(silent.port, " --timeout 1")
