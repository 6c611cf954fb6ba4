"""Among greenlets, patched before or after the import: our threads are the system's and wait for nobody's hub.

A greenlet that computes does not stop the shipper, and a shipper that waits stops no greenlet. No test measures time:
where one of the two stands still, its program never ends.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beats_core import Receiver
from support.authority import Authority
from support.programs import run
from support.scripted import Scripted
from support.shippers import ids

PATCH = "import gevent.monkey; gevent.monkey.patch_all()"
# gevent warns of `ssl`, which is imported by then, whoever did.
PATCH_LATE = f"import warnings; warnings.filterwarnings('ignore', 'Monkey-patching ssl'); {PATCH}"
PATCHED = {"early": (PATCH, ""), "late": ("", PATCH_LATE)}  # before the import of ours, and after it
early_and_late = pytest.mark.parametrize(("early", "late"), PATCHED.values(), ids=PATCHED.keys())


@early_and_late
def test_a_greenlet_that_computes_does_not_stop_the_shipper(early: str, late: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            {late}
            shipper = Shipper(host, bulk_max_size=10)
            put(shipper, *range(500))
            while shipper.stats().acked < 500:  # gives way to nobody
                pass
            """,
            receiver.host,
            before=early,
        )

        assert list(range(500)) == ids(receiver.events)


@early_and_late
@pytest.mark.parametrize("durability", ["spool", "journal"])
def test_several_senders_share_a_spool(early: str, late: str, durability: str, tmp_path: Path) -> None:
    with Receiver() as receiver:
        run(
            f"""
            {late}
            options = {{"workers": 6, "bulk_max_size": 5, "spool_min_free_bytes": 0, "durability": "{durability}"}}
            shipper = Shipper(host, spool="{tmp_path}", **options)
            for number in range(200):
                put(shipper, *range(number * 100, number * 100 + 100))
            assert shipper.flush(60)
            assert 20_000 == shipper.close().acked
            """,
            receiver.host,
            before=early,
        )

        assert sorted(range(20_000)) == sorted(ids(receiver.events))


@early_and_late
@pytest.mark.parametrize("call", ["flush(1_000)", "close(1_000)"])
def test_a_greenlet_that_waits_for_acks_lets_the_others_go_on(early: str, late: str, call: str) -> None:
    with Scripted() as server:
        ended = run(
            f"""
            {late}
            import gevent
            shipper = Shipper(host, shutdown_timeout=0)
            put(shipper, 1)
            waiting = gevent.spawn(lambda: shipper.{call})
            for tick in range(100):
                gevent.sleep(0.001)
            print("ticked", waiting.ready())
            waiting.kill()
            """,
            server.host,
            before=early,
            complains=True,
        )

    assert ended.stdout == "ticked False\n"


@early_and_late
def test_while_the_shipper_connects_in_vain_greenlets_go_on(early: str, late: str) -> None:
    """The receiver's queue of connections is full: it answers no SYN."""
    run(
        f"""
        {late}
        import gevent, socket
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        shipper = Shipper(f"127.0.0.1:{{listener.getsockname()[1]}}", shutdown_timeout=0)
        put(shipper, 1)
        while not any(host.state == "connecting" for host in shipper.stats().hosts.values()):
            gevent.sleep(0.001)
        for tick in range(100):
            gevent.sleep(0.001)
        for line in waiting:
            line.close()
        listener.close()
        """,
        "",
        before=early,
        complains=True,
    )


@early_and_late
def test_greenlets_that_put_flush_and_close_at_once_lose_nothing(early: str, late: str) -> None:
    with Receiver() as receiver:
        ended = run(
            f"""
            {late}
            import gevent, json
            shipper = Shipper(host, bulk_max_size=10, shutdown_timeout=30)
            accepted = []

            def work(number):
                for event in range(100):
                    accepted.append(shipper.put({{"id": number * 100 + event}}))
                    gevent.sleep(0)
                assert shipper.flush()

            gevent.joinall([gevent.spawn(work, number) for number in range(20)], raise_error=True)
            put(shipper, *range(2_000, 2_100))
            gevent.joinall([gevent.spawn(shipper.close) for _ in range(5)], raise_error=True)
            stats = shipper.stats()
            print(json.dumps([sum(accepted), stats.acked, stats.lost]))
            """,
            receiver.host,
            before=early,
        )

        assert [2_000, 2_100, 0] == json.loads(ended.stdout)
        assert sorted(ids(receiver.events)) == list(range(2_100))


@early_and_late
def test_the_end_of_the_program_delivers(early: str, late: str) -> None:
    with Receiver() as receiver:
        run(f"{late}\nshipper = Shipper(host)\nput(shipper, *range(100))", receiver.host, before=early)

        assert list(range(100)) == ids(receiver.events)


@early_and_late
def test_a_forked_child_delivers_its_own_events_once(early: str, late: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            {late}
            shipper = Shipper(host)
            put(shipper, *range(100))
            child = os.fork()
            if not child:
                put(shipper, *range(100, 200))
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            """,
            receiver.host,
            before=early,
        )

        assert list(range(200)) == sorted(ids(receiver.events))


def test_over_tls_the_shipper_is_as_independent_and_leaves_nothing_open(authority: Authority) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        run(
            """
            from beats_core import Options
            import gc
            def ship(number):
                shipper = Shipper(host, ssl={"certificate_authorities": [sys.argv[2]]})
                put(shipper, number)
                while shipper.stats().acked < 1:  # gives way to nobody
                    pass
                shipper.close()
                gc.collect()
                return len(os.listdir("/proc/self/fd"))
            before = ship(0)
            for number in range(1, 20):
                after = ship(number)
            assert after <= before, (before, after)
            """,
            receiver.host,
            str(authority.path),
            before=PATCH,
        )

        assert list(range(20)) == ids(receiver.events)


@pytest.mark.parametrize("module", ["logging", "loguru", "structlog"])
def test_what_greenlets_log_arrives(module: str) -> None:
    log = {
        "logging": (
            "import logging; from beats_integrations.logging import BeatsHandler;"
            "logging.getLogger().addHandler(BeatsHandler(hosts=[host])); log = logging.getLogger('shop').warning"
        ),
        "loguru": (
            "from loguru import logger; from beats_integrations.loguru import BeatsSink; logger.remove();"
            "logger.add(BeatsSink(hosts=[host])); log = logger.warning"
        ),
        "structlog": (
            "import structlog; from beats_integrations.structlog import BeatsProcessor;"
            "drop = lambda *_: (_ for _ in ()).throw(structlog.DropEvent());"
            "structlog.configure([BeatsProcessor(hosts=[host]), drop]);"
            "log = structlog.get_logger().warning"
        ),
    }[module]
    with Receiver() as receiver:
        run(
            f"""
            import gevent
            {log}

            def work(number):
                for event in range(20):
                    log(f"{{number}} {{event}}")
                    gevent.sleep(0)

            gevent.joinall([gevent.spawn(work, number) for number in range(10)], raise_error=True)
            """,
            receiver.host,
            before=PATCH,
        )

        expected = sorted(f"{number} {event}" for number in range(10) for event in range(20))
        assert expected == sorted(event["message"] for event in receiver.events)
