"""Certificates are renewed under load: nothing is lost, nothing is restarted, and the receiver sees the new ones."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beats_core import Batch, ConnectionLost, Shipper
from support.authority import Authority
from support.clients import MakeDriver, numbered
from support.scripted import Peer, Scripted
from support.shippers import wait_until

WINDOWS_PER_LINE = 3


class Renewal:
    """A receiver and a client's files, whose authorities and certificates are replaced by others, step by step."""

    def __init__(self, directory: Path, old: Authority, new: Authority) -> None:
        self.old, self.new = old, new
        self.option = {
            name: str(directory / f"{name}.pem") for name in ("certificate_authorities", "certificate", "key")
        }
        self.old_client, self.new_client = old.client("old@example.org"), new.client("new@example.org")
        for name, path in self.option.items():
            Path(path).write_bytes(self._content(self.old_client, name))
        # Contexts that are in use are not changed: handshakes would meet a certificate without its key.
        self.servers = [authority.server(wants_certificate=True) for authority in (old, new)]
        for context in self.servers:
            for path in (old.path, new.path):
                context.load_verify_locations(path)
        self.seen: list[bytes] = []  # the client's certificate on each line that has done its work

    def serve(self, peer: Peer) -> None:
        """Take a few windows, and end the line."""
        for _ in range(WINDOWS_PER_LINE):
            peer.ack(peer.window().count)
        assert peer.tls is not None
        self.seen.append(peer.tls.getpeercert(binary_form=True) or b"")
        peer.leave()

    def steps(self, receiver: Scripted) -> Iterator[None]:
        """Renew everything as careful operators do: first whom to trust, then what to show."""
        both = [Path(authority.path).read_bytes() for authority in (self.old, self.new)]
        Path(self.option["certificate_authorities"]).write_bytes(b"".join(both))
        yield
        self._replace("certificate")  # and not yet its key: unusable together
        yield
        self._replace("key")
        yield
        receiver.tls = self.servers[1]
        yield
        self._replace("certificate_authorities")  # which no longer trusts the old one
        yield

    def _replace(self, name: str) -> None:
        new = Path(f"{self.option[name]}.new")
        new.write_bytes(self._content(self.new_client, name))
        new.replace(self.option[name])

    @staticmethod
    def _content(option: dict[str, object], name: str) -> bytes:
        value = option[name]
        return Path(value[0] if isinstance(value, list) else str(value)).read_bytes()

    def der(self, option: dict[str, object]) -> bytes:
        return ssl.PEM_cert_to_DER_cert(Path(str(option["certificate"])).read_text())

    def through(self, receiver: Scripted) -> None:
        """Take the steps, each when a few lines have worked with what was there before."""
        for _ in self.steps(receiver):
            self._await_lines(len(self.seen) + 3)

    def _await_lines(self, count: int) -> None:
        wait_until(lambda: len(self.seen) >= count)


@pytest.fixture
def renewal(tmp_path: Path, authority: Authority, stranger: Authority) -> Renewal:
    return Renewal(tmp_path, authority, stranger)


def while_running(body: Callable[[threading.Event], None], meanwhile: Callable[[], None]) -> None:
    """Run the body in a thread until the other has ended; raise what either raises."""
    done = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            body(done)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        meanwhile()
    finally:
        done.set()
        thread.join()
    if failures:
        raise failures[0]


def test_a_client_goes_through_a_renewal_without_a_loss(
    driver: MakeDriver, renewal: Renewal, caplog: pytest.LogCaptureFixture
) -> None:
    sent = 0

    def send(done: threading.Event) -> None:
        nonlocal sent
        with driver(receiver.host, ssl=renewal.option) as client:
            while not done.is_set():
                batch: list[dict[str, object]] | Batch = numbered(5, first=sent)
                sent += 5
                while len(batch):
                    try:
                        client.send(batch)
                        batch = []
                    except ConnectionLost as lost:
                        batch = lost.unacked

    with Scripted(renewal.serve, tls=renewal.servers[0]) as receiver:
        while_running(send, lambda: renewal.through(receiver))

    assert set(range(sent)) == set(receiver.ids)
    check(renewal, receiver, caplog)


def test_a_shipper_goes_through_a_renewal_without_a_loss(renewal: Renewal, caplog: pytest.LogCaptureFixture) -> None:
    put = 0

    def fill(done: threading.Event) -> None:
        nonlocal put
        while not done.is_set():
            assert shipper.put({"id": put})
            put += 1
            done.wait(0.0005)

    with Scripted(renewal.serve, tls=renewal.servers[0]) as receiver:
        shipper = Shipper(
            receiver.host, ssl=renewal.option, bulk_max_size=20, backoff_init=0.01, backoff_max=0.05, add_id=False
        )
        while_running(fill, lambda: renewal.through(receiver))
        assert shipper.flush(30)
        stats = shipper.close()

    assert (put, put, 0) == (stats.accepted, stats.acked, sum(stats.dropped.values()))
    assert set(range(put)) == set(receiver.ids)
    check(renewal, receiver, caplog)


def check(renewal: Renewal, receiver: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    """The receiver saw the old certificate, then the new one, refused nobody, and the log tells of the middle."""
    old, new = renewal.der(renewal.old_client), renewal.der(renewal.new_client)
    changed = renewal.seen.index(new)
    assert {old} == set(renewal.seen[:changed])
    assert {new} == set(renewal.seen[changed:])
    assert [] == receiver.refused
    said = [record.getMessage() for record in caplog.records if record.name == "beats_core.tls"]
    assert 1 == len([text for text in said if "is the key of another certificate" in text])
