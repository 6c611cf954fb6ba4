"""Forked processes: each event is delivered once, by the process that put it, and nothing hangs."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from beats_core import Receiver
from support.authority import Authority
from support.programs import run
from support.shippers import closed_port, ids

START_METHODS = ("fork", "spawn", "forkserver")

# Forks while threads put as fast as they can; the id of an event is its process and its number.
BUSY = """
import itertools, json
tls = json.loads(sys.argv[2])
shipper = Shipper(host, ssl=tls, bulk_max_size=64, shutdown_timeout=30)
stop = threading.Event()
accepted = []

def go_on(thread):
    for number in itertools.count():
        if stop.is_set():
            accepted.append(number)
            return
        while not shipper.put({"id": f"parent {thread} {number}"}):
            time.sleep(0.001)
        if number % 50 == 0:
            time.sleep(0.001)

threads = [threading.Thread(target=go_on, args=(thread,)) for thread in range(2)]
for thread in threads:
    thread.start()
children = []
for child in range(FORKS):
    time.sleep(0.002)
    pid = os.fork()
    if not pid:
        for number in range(20):
            assert shipper.put({"id": f"child {child} {number}"})
        END
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
stats = shipper.close()
print(json.dumps({"accepted": sorted(accepted), "stats": [stats.accepted, stats.acked, stats.resent]}))
"""
ENDS = {
    "by atexit": "sys.exit(0)",
    "closing": "sys.stdout.flush(); os._exit(0 if shipper.close().acked == 20 else 9)",
    "flushing": "os._exit(0 if shipper.flush(30) else 9)",
}


def assert_each_once(receiver: Receiver, printed: str, forks: int) -> None:
    report = json.loads(printed)
    arrived = Counter(str(event["id"]) for event in receiver.events)
    expected = Counter(f"child {child} {number}" for child in range(forks) for number in range(20))
    for thread in range(2):
        expected.update(name for name in arrived if name.startswith(f"parent {thread} "))
    assert {name: times for name, times in arrived.items() if times > 1} == {}
    assert expected == arrived
    assert len({event["@metadata"]["_id"] for event in receiver.events}) == arrived.total()
    parents = [name for name in arrived if name.startswith("parent")]
    assert sum(report["accepted"]) == len(parents) > 100
    assert [len(parents), len(parents), 0] == report["stats"]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_forked_while_busy_each_process_delivers_its_own_events_once(end: str) -> None:
    with Receiver() as receiver:
        printed = run(BUSY.replace("END", end).replace("FORKS", "20"), receiver.host, "null").stdout

        assert_each_once(receiver, printed, 20)


def test_a_forked_child_leaves_its_parents_tls_connection_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Receiver(ssl=authority.server()) as receiver:
        program = BUSY.replace("END", ENDS["by atexit"]).replace("FORKS", "5")
        printed = run(program, receiver.host, f'{{"certificate_authorities": ["{authority.path}"]}}').stdout

        assert_each_once(receiver, printed, 5)


def test_a_child_forked_before_the_first_put_delivers_like_its_parent() -> None:
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host)
            child = os.fork()
            put(shipper, *(range(100) if child else range(100, 200)))
            if child:
                os.waitpid(child, 0)
            """,
            receiver.host,
        )

        assert list(range(200)) == sorted(ids(receiver.events))


def test_children_of_children_deliver() -> None:
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host)
            put(shipper, 0)
            for generation in range(1, 5):
                child = os.fork()
                if child:
                    assert os.waitpid(child, 0)[1] == 0
                    break
                put(shipper, generation)
            """,
            receiver.host,
        )

        assert list(range(5)) == sorted(ids(receiver.events))


def test_a_child_that_does_not_log_delivers_nothing_of_its_parents() -> None:
    """However it ends; and the parent loses nothing by it."""
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host, shutdown_timeout=30)
            put(shipper, *range(100))
            for end in (os._exit, sys.exit):
                child = os.fork()
                if not child:
                    assert shipper.stats().accepted == 0
                    end(0)
                assert os.waitpid(child, 0)[1] == 0
            """,
            receiver.host,
        )

        assert list(range(100)) == ids(receiver.events)


def test_what_the_parent_closed_is_closed_in_the_child() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            shipper = Shipper(host)
            put(shipper, 1)
            shipper.close()
            child = os.fork()
            if child:
                os.waitpid(child, 0)
            else:
                print(shipper.put({"id": 2}), shipper.closed, shipper.flush(), shipper.close().lost)
            """,
            receiver.host,
            complains=True,  # about the second event
        )

        assert ended.stdout == "False True True 1\n"
        assert [1] == ids(receiver.events)


def test_a_child_holds_no_connection_of_its_parent_open() -> None:
    """Else the receiver would not learn that the parent has gone."""
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host)
            put(shipper, 1)
            assert shipper.flush()
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
            else:
                sockets = [
                    link
                    for name in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{name}")
                    and (link := os.readlink(f"/proc/self/fd/{name}")).startswith("socket:")
                ]
                os._exit(len(sockets))
            """,
            receiver.host,
        )


# multiprocessing.


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize(("child", "status"), [("put", 0), ("put_and_exit", 0), ("put_and_fail", 7)])
def test_a_child_of_multiprocessing_delivers_before_it_ends(method: str, child: str, status: int) -> None:
    with Receiver() as receiver:
        run(
            f"""
            import multiprocessing
            from support import children
            context = multiprocessing.get_context("{method}")
            children.put(host, 0, 100)
            processes = [
                context.Process(target=children.{child}, args=(host, first, 100)) for first in (100, 200)
            ]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
                assert process.exitcode == {status}
            """,
            receiver.host,
        )

        assert list(range(300)) == sorted(ids(receiver.events))


@pytest.mark.parametrize("method", START_METHODS)
def test_the_workers_of_a_pool_deliver_before_they_end(method: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor
            from support import children
            with ProcessPoolExecutor(2, multiprocessing.get_context("{method}")) as pool:
                list(pool.map(children.put, [host] * 20, range(0, 200, 10), [10] * 20))
            """,
            receiver.host,
        )

        assert list(range(200)) == sorted(ids(receiver.events))


@pytest.mark.parametrize("method", START_METHODS)
def test_the_workers_of_a_multiprocessing_pool_deliver_also_those_it_replaces(method: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            import multiprocessing
            from support import children
            pool = multiprocessing.get_context("{method}").Pool(2, maxtasksperchild=2)
            pool.starmap(children.put, [(host, first, 10) for first in range(0, 100, 10)], chunksize=1)
            pool.close()
            pool.join()
            """,
            receiver.host,
        )

        assert list(range(100)) == sorted(ids(receiver.events))


def test_a_spawned_child_may_put_in_its_exit_handlers() -> None:
    """They run after the finalisers of multiprocessing."""
    with Receiver() as receiver:
        run(
            """
            import multiprocessing
            from support import children
            process = multiprocessing.get_context("spawn").Process(target=children.put_again_at_exit, args=(host, 0, 5))
            process.start()
            process.join()
            assert process.exitcode == 0
            """,
            receiver.host,
        )

        assert list(range(10)) == ids(receiver.events)


@pytest.mark.parametrize("method", START_METHODS)
def test_with_a_dead_receiver_a_child_ends_in_time_and_says_what_it_lost(method: str) -> None:
    ended = run(
        f"""
        import multiprocessing
        from support import children
        process = multiprocessing.get_context("{method}").Process(target=children.put_for_nobody, args=(host,))
        process.start()
        process.join()
        assert process.exitcode == 0
        """,
        closed_port(),
        complains=True,
    )

    assert 1 == ended.stderr.count("beats: 0 delivered, 0 spooled, 1 lost (shutdown 1) to ")
    assert 1 == ended.stderr.count("lost")


def test_exit_handlers_of_the_parent_may_put_after_those_of_multiprocessing() -> None:
    with Receiver() as receiver:
        run(
            """
            import atexit
            shipper = Shipper(host)
            atexit.register(put, shipper, 2)
            import multiprocessing.util  # registers its own, which runs first
            put(shipper, 1)
            """,
            receiver.host,
        )

        assert [1, 2] == ids(receiver.events)
