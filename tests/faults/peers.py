"""PyLogBeat and python-logstash-async in our place, as their own documentation has them used."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from faults.orders import ProducerOrder
from faults.shipping import Shipping

_SHUTDOWN = 20.0  # seconds


class PyLogBeat:
    """Its client sends at once, in the caller's thread: what it accepted is what `send` returned from."""

    def __init__(self, order: ProducerOrder) -> None:
        import pylogbeat

        name, _, port = order.options["hosts"].rpartition(":")
        tls = order.options.get("ssl")
        self._make: Callable[[], Any] = lambda: pylogbeat.PyLogBeatClient(
            name,
            int(port),
            timeout=2.0,
            ssl_enable=tls is not None,
            ca_certs=tls["certificate_authorities"][0] if tls else None,
            use_logging=True,
        )
        self._client: Any = None
        self._acked = 0

    def put(self, event: dict[str, Any]) -> bool:
        try:
            if self._client is None:
                self._client = self._make()
                self._client.connect()
            self._client.send([event])
        except Exception:  # noqa: BLE001 - OSError, struct.error and its own: its caller knows at least
            if self._client is not None:
                self._client.close()
            self._client = None
            return False
        self._acked += 1
        return True

    def stats(self) -> Mapping[str, Any]:
        return {"acked": self._acked, "dropped": {}, "hosts": {}}

    def close(self) -> Mapping[str, Any]:
        if self._client is not None:
            self._client.close()
        return self.stats()


class LogstashAsync:
    """Its handler with its own Beats transport and its database."""

    def __init__(self, order: ProducerOrder) -> None:
        from logstash_async.constants import constants
        from logstash_async.handler import AsynchronousLogstashHandler

        constants.QUEUED_EVENTS_FLUSH_INTERVAL = 0.5  # instead of 10 seconds, to have it within a test
        constants.QUEUE_CHECK_INTERVAL = 0.1
        name, _, port = order.options["hosts"].rpartition(":")
        tls = order.options.get("ssl")
        self._handler = AsynchronousLogstashHandler(
            name,
            int(port),
            database_path=order.options["database"],
            transport="logstash_async.transport.BeatsTransport",
            ssl_enable=tls is not None,
            ca_certs=tls["certificate_authorities"][0] if tls else None,
        )
        self._handler.setFormatter(_AsItIs())

    def put(self, event: dict[str, Any]) -> bool:
        self._handler.emit(logging.makeLogRecord({"msg": event}))
        return True

    def stats(self) -> Mapping[str, Any]:
        return {"dropped": {}, "hosts": {}}

    def close(self) -> Mapping[str, Any]:
        self._handler.close()
        return self.stats()


class _AsItIs(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        import json

        return json.dumps(record.msg)


PEERS: Mapping[str, Callable[[ProducerOrder], Shipping]] = {"pylogbeat": PyLogBeat, "logstash-async": LogstashAsync}
