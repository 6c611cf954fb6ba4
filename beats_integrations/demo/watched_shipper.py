"""A shipper that is watched: which events it has an acknowledgement for, and how long each took."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic, sleep

from beats_core import Shipper
from beats_integrations.demo.tally import Report, event_id

LOOK_EVERY = 0.001  # seconds; a time is at most that much too long


class WatchedShipper(Shipper):
    """Notes when each event is put, inside the log call, and when the count of acknowledged events has passed it.

    That count is enough to know which: one connection acknowledges in order, and what is sent again goes first.
    """

    _watch: _Watch

    def put(self, event: Mapping[str, object] | str | bytes, level: int = 20) -> bool:
        """Accept an event as every shipper does, and note it."""
        watch = self._watching()
        with watch.lock:  # so that events are noted in the order of the shipper
            began = monotonic()
            accepted = super().put(event, level)
            if accepted:
                watch.put.append((event_id(event) if isinstance(event, Mapping) else None, began))
                watch.more.set()
        return accepted

    def begin_anew(self) -> None:
        """Forget, in a child after fork, what the parent put: the parent delivers it."""
        super().begin_anew()
        self.__dict__.pop("_watch", None)

    def report(self, source: str, logged: list[str]) -> Report:
        """Return what became of this process's events so far; call it once everything was flushed."""
        watch = self._watching()
        watch.look(self)
        with watch.lock:
            return Report(
                source=source,
                logged=logged,
                acknowledged=[number for number, _ in watch.put[: len(watch.times)] if number is not None],
                latencies=[
                    seconds for (number, _), seconds in zip(watch.put, watch.times, strict=False) if number is not None
                ],
                resent=self.stats().resent,
            )

    def _watching(self) -> _Watch:
        watch: _Watch | None = self.__dict__.get("_watch")
        if watch is None:
            watch = self._watch = _Watch()
            threading.Thread(target=watch.run, args=(self,), name="demo-watch", daemon=True).start()
        return watch


class _Watch:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.more = threading.Event()
        self.put: list[tuple[str | None, float]] = []  # in order: the id, and when it was put
        self.times: list[float] = []  # in the same order, of those that are acknowledged

    def run(self, shipper: Shipper) -> None:
        while True:
            self.more.wait()
            self.look(shipper)
            sleep(LOOK_EVERY)

    def look(self, shipper: Shipper) -> None:
        acked, now = shipper.stats().acked, monotonic()
        with self.lock:
            self.times += [now - began for _, began in self.put[len(self.times) : acked]]
            if len(self.times) == len(self.put):
                self.more.clear()
