"""What a process holds of a spool in the moment of a fork; and what is promised of a disk that failed."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from beats_core import Shipper
from beats_core.spool.part import Part, parts_in
from support.faulty_os import faulty_os
from support.shippers import closed_port, put
from support.spools import events, make, read_all


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_locks_no_part_that_was_being_adopted_when_it_was_forked(tmp_path: Path) -> None:
    dead = make(tmp_path)
    dead.append(events(1))
    dead.abandon()
    [path] = parts_in(os.fspath(tmp_path))
    part = Part.take_over(path)  # by the intake thread, which has not told anybody of it yet
    assert part is not None
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, b".")
        signal.pause()
        os._exit(0)
    try:
        os.read(reader, 1)
        part.release()  # the parent dies
        again = Part.take_over(path)

        assert again is not None
        again.release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_a_second_flush_does_not_trust_the_disk_that_failed(tmp_path: Path) -> None:
    with faulty_os() as system:
        shipper = Shipper(
            closed_port(), spool=str(tmp_path), spool_min_free_bytes=0, shutdown_timeout=0.0, fsync="none"
        )
        put(shipper, 1, 2, 3)
        assert shipper.flush(10, durable=True)
        put(shipper, 4)
        system.arm(0, errno.EIO, ("fdatasync",))

        assert not shipper.flush(10, durable=True)
        assert "fdatasync" == system.struck
        assert not shipper.flush(10, durable=True)
        shipper.close()


def test_what_a_full_segment_holds_is_written_anew_too_when_its_sync_fails(tmp_path: Path) -> None:
    with faulty_os() as system:
        spool = make(tmp_path, segment_bytes=1)
        for number in range(3):
            spool.append(events(number))
        system.arm(0, errno.EIO, ("fdatasync",))
        spool.sync()

        assert "fdatasync" == system.struck
        assert events(1, 2, 0) == read_all(spool)
