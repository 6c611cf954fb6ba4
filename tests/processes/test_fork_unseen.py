"""Forked by C code that does not tell Python: the child finds out by itself, at its first call, and begins anew."""

from __future__ import annotations

from collections import Counter

import pytest

from beats_core import Receiver
from support.programs import run
from support.scripted import Scripted, answering, silence
from support.shippers import ids

# `fork()`: as uWSGI does it. Not while a thread waits for the GIL: the child's would be broken, which nobody can mend.
FORK = """
import ctypes, os, time
from pathlib import Path

def switches():
    others = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    status = "".join((task / "status").read_text() for task in others)
    return [line for line in status.splitlines() if "ctxt_switches" in line]

def fork():
    before = None
    while before != (before := switches()):
        time.sleep(0.05)
    return ctypes.PyDLL(None).fork()
"""
FIRST_CALLS = {
    "put": "put(shipper, *range(100, 200))",
    "flush": "assert shipper.flush(); put(shipper, *range(100, 200))",
    "stats": "assert shipper.stats().accepted == 0; put(shipper, *range(100, 200))",
    "shared": "shipper = Shipper.shared(shipper.options); put(shipper, *range(100, 200))",
}
ENDS = {"by atexit": "sys.exit(0)", "closing": "os._exit(0 if shipper.close().acked == 100 else 9)"}


@pytest.mark.parametrize("first", FIRST_CALLS.values(), ids=FIRST_CALLS.keys())
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_each_process_delivers_its_own_events_once(first: str, end: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            shipper = Shipper(host, shutdown_timeout=30)
            put(shipper, *range(100))
            assert shipper.flush()
            child = fork()
            if not child:
                {first}
                {end}
            assert os.waitpid(child, 0)[1] == 0
            stats = shipper.close()
            assert (stats.acked, stats.resent) == (100, 0), stats
            """,
            receiver.host,
            before=FORK,
        )

        assert Counter(range(200)) == Counter(ids(receiver.events))
        assert 200 == len({event["@metadata"]["_id"] for event in receiver.events})


def test_a_child_that_puts_nothing_delivers_nothing_of_its_parents_and_ends_at_once() -> None:
    with Scripted(answering(silence)) as server:
        run(
            """
            shipper = Shipper(host, shutdown_timeout=1_000)
            put(shipper, 1)
            while not shipper.stats().in_flight:
                time.sleep(0.001)
            child = fork()
            if not child:
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            shipper.close(0)
            """,
            server.host,
            before=FORK,
            complains=True,  # about what nobody acknowledged
        )

        assert 1 == len(server.peers)


def test_a_client_in_a_child_gives_ids_of_its_own() -> None:
    with Receiver() as receiver:
        run(
            """
            from beats_core import Client
            child = fork()
            with Client(host) as client:
                for _ in range(200):
                    client.send([{"id": child}])
            if child:
                assert os.waitpid(child, 0)[1] == 0
            """,
            receiver.host,
            before=FORK,
        )

        assert 400 == len({event["@metadata"]["_id"] for event in receiver.events})


def test_without_a_page_that_a_child_finds_empty_the_process_id_tells() -> None:
    with Receiver() as receiver:
        run(
            """
            from beats_core import forks
            assert type(forks._mark) is forks._Pid
            shipper = Shipper(host, shutdown_timeout=30)
            put(shipper, 1)
            assert shipper.flush()
            child = fork()
            if not child:
                put(shipper, 2)
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            """,
            receiver.host,
            before=f"{FORK}\nimport sys\nsys.platform = 'another'",
        )

        assert [1, 2] == sorted(ids(receiver.events))
