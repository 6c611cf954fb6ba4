"""Rows 34, 38 to 43 and 59: the disk is full, fails, goes away, is damaged, and is wanted by several at once."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.catalogue import ON_DISK, row
from faults.damage import KINDS, segments
from faults.namespaces import command
from faults.processes import Producer
from faults.scene import Scene
from faults.syscalls import Injected
from support.requirements import require
from support.shippers import closed_port

RATE = 1000  # events per second, of each of two threads
EVENTS = 2000


@contextmanager
def mounted(place: Path, *what: str) -> Iterator[None]:
    """Mount something for as long as the block lasts."""
    mount = require("mount")
    place.mkdir(exist_ok=True)
    command(mount, *what, str(place))
    try:
        yield
    finally:
        command("umount", "--lazy", str(place))


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
@row("F38", "the disk is full (tmpfs), then the receiver comes", *ON_DISK)
def test_f38_a_full_disk_loses_nothing_uncounted_and_is_used_again(scene: Scene, policy: str) -> None:
    scene.row.fault = f"the disk is full (tmpfs, {policy}), then the receiver comes"
    dead = closed_port()
    with mounted(scene.spool, "-t", "tmpfs", "-o", "size=4m", "none"):
        options = {"on_full": policy, "spool_min_free_bytes": 0, "queue_mem_bytes": 1 << 20}
        end = scene.path("end")
        producer = scene.producer(dead, events=8000, rate=4000, retries=False, options=options, end_at=end)
        scene.wait_for_accepted(6000)
        sink = scene.sink(bind=dead)
        scene.healed()
        producer.release()
        producer.report()
        scene.drain(sink.host)
        scene.judge()
        assert not segments(scene.spool), "what was delivered still takes room"


@row("F38", "more than spool_max_bytes waits", *ON_DISK)
def test_f38_the_quota_holds(scene: Scene) -> None:
    dead = closed_port()
    options = {"spool_max_bytes": 2 << 20, "queue_mem_bytes": 1 << 20}
    producer = scene.producer(dead, events=8000, retries=False, options=options, closing=0.5)
    producer.report()
    used = sum(path.stat().st_size for path in segments(scene.spool))
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0)

    assert used <= 2 << 20


ERRORS = {
    "ENOSPC, write": ("write:error=ENOSPC:when=20..26",),
    "EIO, write": ("write:error=EIO:when=5..9",),
    "EINTR, write": ("write:error=EINTR:when=3+4",),
    "EIO, fsync": ("fsync,fdatasync:error=EIO:when=1..2",),
    "EMFILE, open": ("openat:error=EMFILE:when=1..3",),
    "EIO, unlink and rename": ("unlink,rename,renameat2:error=EIO:when=1..2",),
    "slow fsync": ("fsync,fdatasync:delay_enter=400000",),
}


@pytest.mark.parametrize("error", ERRORS)
@row("F39", "system calls of the spool fail (strace)", *ON_DISK)
def test_f39_errors_of_the_disk_lose_nothing(scene: Scene, error: str) -> None:
    scene.row.fault = f"system calls of the spool fail (strace): {error}"
    sink = scene.sink()
    begin = scene.path("begin")
    producer = scene.producer(sink.host, events=EVENTS, rate=RATE, begin_at=begin)
    producer.wait_until_ready()
    with Injected(producer.pid, *ERRORS[error]):
        producer.begin()
        producer.end()
    scene.drain(sink.host)
    scene.judge()


@row("F40", "no file may be larger than 512 KiB (RLIMIT_FSIZE)", *ON_DISK)
def test_f40_a_limit_to_files_loses_nothing(scene: Scene) -> None:
    dead = closed_port()
    producer = scene.producer(dead, events=EVENTS, retries=False, mischief=["small_files"], closing=0.5)
    producer.report()
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0)


@row("F41", "the spool's directory is removed", *ON_DISK)
def test_f41_a_directory_that_is_removed_costs_what_was_in_it_at_most(scene: Scene) -> None:
    sink = scene.sink()
    producer = scene.producer(sink.host, events=EVENTS, rate=RATE)
    scene.wait_for_arrivals(EVENTS // 2)
    in_it = scene.accepted - scene.arrived
    shutil.rmtree(scene.spool)
    before = scene.accepted
    producer.report()
    scene.judge(may_lose=max(200, 2 * in_it))

    assert scene.arrived > before, "the shipper goes on without it"


@row("F41", "the file system becomes read-only", *ON_DISK)
def test_f41_a_read_only_file_system_loses_nothing(scene: Scene) -> None:
    sink = scene.sink()
    with mounted(scene.spool, "-t", "tmpfs", "-o", "size=64m", "none"):
        options = {"spool_min_free_bytes": 0}
        producer = scene.producer(sink.host, events=EVENTS, rate=RATE, options=options)
        scene.wait_for_arrivals(EVENTS // 2)
        # A tmpfs with a file that is open for writing refuses; a bind mount over it does not.
        with mounted(scene.spool, "--bind", str(scene.spool)):
            command("mount", "-o", "remount,bind,ro", str(scene.spool))
            scene.wait_for_accepted(scene.accepted + EVENTS // 4)
        producer.report()
        scene.drain(sink.host)
        scene.judge()


def killed_with_a_backlog(scene: Scene, host: str) -> Producer:
    """Leave a spool behind in which everything is that was accepted."""
    end = scene.path("never")
    producer = scene.producer(host, events=EVENTS, rate=RATE, end_at=end)
    scene.wait_for_accepted(2 * EVENTS)
    # With durability "spool" the last events are on their way to the disk.
    _await_quiet_files(scene.spool)
    producer.kill()
    return producer


def _await_quiet_files(spool: Path) -> None:
    sizes: list[int] = []
    while len(sizes) < 10 or len(set(sizes[-10:])) > 1:
        sizes.append(sum(path.stat().st_size for path in segments(spool)))
        time.sleep(0.05)


@pytest.mark.parametrize("kind", KINDS)
@row("F42", "damage to the files", *ON_DISK)
def test_f42_damage_costs_what_is_damaged(scene: Scene, kind: str) -> None:
    scene.row.fault = kind
    damage, share = KINDS[kind]
    dead = closed_port()
    killed_with_a_backlog(scene, dead)
    assert segments(scene.spool)
    damage(scene.spool)
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0, may_lose=int(2 * EVENTS * share))


@row("F43", "six processes want what a dead one left", *ON_DISK)
def test_f43_what_a_dead_process_left_is_taken_over_once(scene: Scene) -> None:
    dead = closed_port()
    killed_with_a_backlog(scene, dead)
    scene.drain_at_once(scene.sink(bind=dead).host, processes=6)
    scene.judge(bound=0)


@row("F43", "the one who takes over is killed, too", *ON_DISK)
def test_f43_what_was_taken_over_is_taken_over_again(scene: Scene) -> None:
    dead = closed_port()
    killed_with_a_backlog(scene, dead)
    sink = scene.sink(bind=dead, work=0.02)
    heir = scene.producer(dead, events=1, threads=1, end_at=scene.path("never2"))
    scene.wait_for_arrivals(EVENTS // 2)
    heir.kill()
    scene.drain(sink.host)
    scene.judge(crashes=1)


@row("F59", "a segment of another format's version", *ON_DISK)
def test_f59_what_a_newer_version_left_stays_as_it_is(scene: Scene) -> None:
    dead = closed_port()
    killed_with_a_backlog(scene, dead)
    [part] = {path.parent for path in segments(scene.spool)}
    newer = scene.spool / "host-1-1-newer"
    newer.mkdir(mode=0o700)
    (newer / "lock").touch(0o600)
    data = segments(scene.spool)[0].read_bytes()
    (newer / "00000001.open").write_bytes(b"BEATSPL9" + data[8:])
    before = (newer / "00000001.open").read_bytes()
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0)

    assert before == (newer / "00000001.open").read_bytes()
    assert not part.exists()


@pytest.mark.parametrize("fsync", ["each", "second"])
@row("F34", "power cut (ext4 on a loop device, copied)", *ON_DISK)
def test_f34_a_power_cut_costs_what_was_not_synced(scene: Scene, fsync: str) -> None:
    scene.row.fault = f"power cut (ext4 on a loop device, copied), fsync={fsync}"
    image, copy = Path(scene.path("disk")), Path(scene.path("copy"))
    with image.open("wb") as file:
        file.truncate(64 << 20)
    command(require("mkfs.ext4"), "-q", str(image))
    dead = closed_port()
    with mounted(scene.spool, "-o", "loop", str(image)):
        options = {"fsync": fsync, "spool_min_free_bytes": 0}
        producer = scene.producer(dead, events=100_000, rate=RATE, options=options)
        scene.wait_for_accepted(4 * RATE)
        os.killpg(producer.pid, signal.SIGSTOP)
        shutil.copyfile(image, copy)
        producer.kill()
    with mounted(scene.spool, "-o", "loop", str(copy)):
        scene.drain(scene.sink(bind=dead).host)
        # What was accepted since the last sync: of both threads, in a second and what a busy disk adds to it.
        scene.judge(bound=0, crashes=1, may_lose=(1 if fsync == "each" else 3) * 2 * RATE)
