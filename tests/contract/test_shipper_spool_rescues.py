"""Events that lose their place in line while a flush waits for them."""

# ruff: noqa: SLF001 - what is between two steps is not to be seen from outside
from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from beats_core import Shipper
from support.faulty_os import faulty_os
from support.shippers import closed_port


def test_a_flush_waits_for_what_was_rescued_to_the_end_of_the_line(tmp_path: Path) -> None:
    with faulty_os() as system:
        shipper = Shipper(
            closed_port(),
            spool=str(tmp_path),
            spool_min_free_bytes=0,
            spool_max_bytes=256 << 10,
            queue_mem_bytes=32 << 10,
            shutdown_timeout=0.0,
            fsync="none",
        )
        delivery: Any = shipper._delivery
        delivery.start = lambda: None
        intake, backlog = delivery._intake, delivery._backlog

        def put_some(first: int) -> None:
            for number in range(first, first + 10):
                assert shipper.put({"id": number, "message": "x" * 1_000})
            intake.move()

        for first in range(0, 60, 10):
            put_some(first)
        intake._spooler.spool.sync()
        put_some(60)  # in a segment that nobody has read
        request = intake.flush()
        intake.move()
        intake._spooler.spool._writer.leave()
        system.arm(0, errno.EIO, ("fdatasync",))
        for first in range(70, 110, 10):
            put_some(first)
        intake._spooler.spool.sync()
        assert "fdatasync" == system.struck
        acked: list[bytes] = []
        while not request.wait(0):
            batch = backlog.take(0.0)
            acked += batch.payloads
            with intake.settling():
                backlog.ack(batch, len(batch))
            intake.move()

        told = b"".join(acked)
        assert [] == [number for number in range(70) if b'"id":%d,' % number not in told]
