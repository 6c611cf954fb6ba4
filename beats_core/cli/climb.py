"""Climbs the ladder of `beats test output`: each step of a connection on its own, with what clients use for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from beats_core.certificates import Certificate
from beats_core.cli.exits import UNAVAILABLE, exit_code
from beats_core.cli.hints import hint_for
from beats_core.cli.ladder import Ladder, Rung, Watcher
from beats_core.client import Client
from beats_core.diagnosis import failure_reason
from beats_core.dial import Unreachable, dial, is_resolved_by_proxy, proxy_for
from beats_core.errors import AckTimeout, BeatsError, ConnectionLost, ProtocolError, Stalled
from beats_core.hosts import Host, resolve
from beats_core.options import Options

PROBE = {"message": "beats test output: probe", "tags": ["beats_test"]}

_CONNECTION, _TLS = "connection", "TLS"
_OBJECTIONS = 0.5  # seconds for a peer that speaks first, or refuses our certificate after a handshake of TLS 1.3
_SOON = 14  # days


class Fallen(Exception):
    """The climb of one address is over; its last rung says why."""


class Climber:
    """Tries each host of the options.

    Args:
        options: Those to test.
        watcher: Is told of each rung.
        probe: Whether to send an event, without which nobody knows that a peer speaks Beats.
    """

    def __init__(self, options: Options, watcher: Watcher, *, probe: bool) -> None:
        self._options = options
        self._watcher = watcher
        self._probe = probe

    def climb(self) -> list[Ladder]:
        """Return a ladder for each host; with `resolve_all` for each address."""
        return [self._climb(host) for host in self._hosts()]

    def _hosts(self) -> Iterator[Host]:
        for host in self._options.addresses:
            if not self._options.resolve_all or is_resolved_by_proxy(host, self._options):
                yield host
                continue
            try:
                yield from resolve(host)
            except OSError:
                yield host  # its ladder says why

    def _climb(self, host: Host) -> Ladder:
        ladder = Ladder(str(host), self._watcher)
        try:
            targets = self._resolve(ladder, host)
            target = self._connect(ladder, targets)
            self._talk(ladder, target)
        except Fallen:
            pass
        return ladder

    def _resolve(self, ladder: Ladder, host: Host) -> Sequence[Host]:
        with ladder.rung("parse host", _CONNECTION):
            pass  # else the options would not be there
        if host.is_unix:
            return [host]
        proxy = proxy_for(host, self._options)
        if proxy is not None:
            with ladder.rung("proxy", _CONNECTION) as rung:
                rung.detail = f"{proxy.host} ({proxy.kind})"
        with self._tried(ladder, host, "dns lookup", _CONNECTION) as rung:
            if is_resolved_by_proxy(host, self._options):
                rung.detail = "left to the proxy"
                return [host]
            targets = resolve(host)
            rung.facts["addresses"] = [target.address for target in targets]
        return targets

    def _connect(self, ladder: Ladder, targets: Sequence[Host]) -> Host:
        """Climb to the end of TLS's handshake with one address after the other, as clients do; return the one."""
        *earlier, last = targets
        for target in earlier:
            try:
                self._open(ladder, target, named=True, last=False)
            except Fallen:
                continue
            return target
        self._open(ladder, last, named=bool(earlier), last=True)
        return last

    def _open(self, ladder: Ladder, target: Host, *, named: bool, last: bool) -> None:
        name = f"dial up {target.address}" if named else "dial up"
        with self._tried(ladder, target, name, _CONNECTION, last=last) as rung, rung.timed():
            dial(target, replace(self._options, ssl=None)).close()
        if self._options.tls is None:
            self._warn_of_plain_text(ladder, target)
            return
        self._say_what_is_verified(ladder, self._options.tls.context())
        with self._tried(ladder, target, "handshake", _TLS, last=last) as rung:
            with rung.timed():
                line = dial(target, self._options)
            with closing(line):
                assert isinstance(line, ssl.SSLSocket)  # noqa: S101 - the options say so
                rung.facts["TLS version"] = line.version()
                rung.facts["cipher"] = (line.cipher() or ("",))[0]
                der = line.getpeercert(binary_form=True)
        if der:
            self._look_at_certificate(ladder, der)

    def _warn_of_plain_text(self, ladder: Ladder, target: Host) -> None:
        with ladder.rung(_TLS) as rung:
            if target.is_unix:
                rung.detail = "not needed on a unix socket"
            else:
                rung.warn("secure connection disabled")

    def _say_what_is_verified(self, ladder: Ladder, context: ssl.SSLContext) -> None:
        with ladder.rung("security", _TLS) as rung:
            if context.verify_mode == ssl.CERT_NONE:
                rung.warn("server's certificate is not verified: anybody can pretend to be it")
            elif not context.check_hostname:
                rung.warn("server's certificate chain is verified, its host name is not")
            else:
                rung.detail = "server's certificate chain and host name are verified"

    def _look_at_certificate(self, ladder: Ladder, der: bytes) -> None:
        with ladder.rung("certificate", _TLS) as rung:
            try:
                certificate = Certificate(der)
            except ValueError as error:  # without verification there may be anything
                rung.warn(f"cannot be read: {error}")
                return
            days = (certificate.not_after - datetime.now(UTC)).days
            rung.facts |= {"names": certificate.names, "issuer": certificate.issuer}
            if days >= _SOON:
                rung.detail = f"expires in {days} days"
            elif days >= 0:
                rung.warn(f"expires in {days} days", "renew it now: an expired one stops all senders that verify it")
            else:
                rung.warn(f"expired {-days} days ago")

    def _talk(self, ladder: Ladder, target: Host) -> None:
        with closing(Client(options=self._options)) as client:
            with self._tried(ladder, target, "talk to server") as rung:
                client.connect(hosts=[target])
                client.read_acks(_OBJECTIONS)
                if not self._probe:
                    rung.detail = "it keeps the line open; only a probe event shows that it speaks Beats"
            if self._probe:
                with self._tried(ladder, target, "send 1 probe event") as rung, rung.timed():
                    self._send_probe(client, target)
                    rung.detail = "acknowledged"

    def _send_probe(self, client: Client, target: Host) -> None:
        try:
            client.send([PROBE])
        except ConnectionLost as lost:
            hung_up = exit_code(lost) == UNAVAILABLE and not isinstance(lost, AckTimeout | Stalled)
            if self._options.tls or not hung_up or not self._speaks_tls(target):
                raise
            raise ProtocolError("the port speaks TLS only; use --ssl or beats+tls://") from lost

    def _speaks_tls(self, target: Host) -> bool:
        """Tell whether somebody shakes hands that has just hung up on plain text; nothing is sent to it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            dial(target, replace(self._options, ssl=context)).close()
        except OSError:
            return False
        return True

    @contextmanager
    def _tried(self, ladder: Ladder, host: Host, name: str, part: str = "", *, last: bool = True) -> Iterator[Rung]:
        """Climb a rung that can fail; it is only a warning while there is another address, unless it is the `last`."""
        failure: OSError | BeatsError | None = None
        with ladder.rung(name, part) as rung:
            try:
                yield rung
            except (OSError, BeatsError) as error:
                failure = error
                reason, _, hint = _reason(error).partition("; ")
                if last:
                    through_proxy = proxy_for(host, self._options) is not None
                    hint = hint or hint_for(error, host, through_proxy=through_proxy)
                    rung.fail(reason, hint, exit_code(error))
                else:
                    rung.warn(reason, "the next address is tried")
        if failure is not None:
            raise Fallen from failure


def _reason(error: OSError | BeatsError) -> str:
    if isinstance(error, ConnectionLost):
        return error.reason
    return failure_reason(error) if isinstance(error, OSError) and not isinstance(error, Unreachable) else str(error)
