"""A receiver in a process of its own, to be stopped and killed: it notes what arrived before it acknowledges.

    python -m faults.sink ORDER        (JSON, see `orders.SinkOrder`)

Its first line says where it listens.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from beats_core import ReceivedWindow, Receiver
from faults.ledgers import Ledger, arrival
from faults.orders import SinkOrder
from faults.parents import die_with_parent


def main() -> None:
    die_with_parent()
    order = SinkOrder.from_json(sys.argv[1])
    ledger = Ledger(order.ledger)
    ended = threading.Event()

    def consume(window: ReceivedWindow) -> None:
        ledger.note(*map(arrival, window.payloads))
        if order.work:
            ended.wait(order.work)

    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with Receiver(order.bind, consume, keepalive=order.keepalive, max_connections=4096) as receiver:
        sys.stdout.write(json.dumps({"host": receiver.host}) + "\n")
        sys.stdout.flush()
        ended.wait()


if __name__ == "__main__":
    main()
