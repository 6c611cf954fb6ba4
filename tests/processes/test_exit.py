"""The end of a program: what was accepted is delivered, in time, or counted and told."""

from __future__ import annotations

import json

import pytest

from beats_core import Receiver
from support.programs import run
from support.shippers import closed_port, ids

ENDINGS = {
    "return": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "an exception": ("raise ValueError('nothing to do with shipping')", 1),
    "SIGTERM, handled": (
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(4)); os.kill(os.getpid(), 15); time.sleep(60)",
        4,
    ),
    "an interrupt": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -2),
}


@pytest.mark.parametrize(("ending", "status"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_program_that_ends_delivers_what_it_put(ending: str, status: int) -> None:
    with Receiver() as receiver:
        run(
            f"""
            shipper = Shipper(host, bulk_max_size=100)
            put(shipper, *range(2_000))
            {ending}
            """,
            receiver.host,
            expect=status,
            complains=True,
        )

        assert list(range(2_000)) == ids(receiver.events)


def test_with_a_dead_receiver_a_program_ends_in_time_and_says_what_it_lost() -> None:
    host = closed_port()
    ended = run(
        """
        shipper = Shipper(host, shutdown_timeout=0.2)
        put(shipper, *range(10))
        """,
        host,
        complains=True,
    )

    assert f"beats: 0 delivered, 0 spooled, 10 lost (shutdown 10) to {host}\n" in ended.stderr
    assert 1 == ended.stderr.count("lost")
    assert "Traceback" not in ended.stderr


def test_what_is_lost_is_told_once_with_all_reasons_whoever_has_taken_stderr_away() -> None:
    host = closed_port()
    ended = run(
        """
        shipper = Shipper(host, shutdown_timeout=0, queue_mem_bytes=65_536)
        put(shipper, 1, 2)
        for event in (3, {"message": "x" * 100_000}):
            assert not shipper.put(event)
        shipper.flush(0.05)
        sys.stderr = open(os.devnull, "w")
        """,
        host,
        complains=True,
    )

    assert f"beats: 0 delivered, 0 spooled, 4 lost (full 1, invalid 1, shutdown 2) to {host}\n" in ended.stderr


@pytest.mark.parametrize(
    "stderr",
    ["sys.__stderr__ = None", "sys.__stderr__.close()", "os.close(2)", "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)"],
)
def test_where_nothing_can_be_said_nothing_goes_wrong(stderr: str) -> None:
    run(
        f"""
        import logging
        logging.getLogger("beats_core").addHandler(logging.NullHandler())
        shipper = Shipper(host, shutdown_timeout=0)
        put(shipper, 1)
        {stderr}
        """,
        closed_port(),
        complains=True,
    )


def test_what_the_application_was_told_when_it_closed_is_not_said_again() -> None:
    ended = run(
        """
        shipper = Shipper(host)
        put(shipper, 1)
        assert shipper.close(0).lost == 1
        """,
        closed_port(),
        complains=True,
    )

    assert 1 == ended.stderr.count("lost")


def test_several_threads_that_close_wait_no_longer_than_they_want_to() -> None:
    run(
        """
        shipper = Shipper(host, shutdown_timeout=0)
        put(shipper, 1)
        closing = threading.Thread(target=shipper.close, args=(1_000,), daemon=True)
        closing.start()
        while not shipper.closed:
            time.sleep(0.001)
        shipper.close(0.1)
        """,
        closed_port(),
        complains=True,
    )


def test_several_shippers_share_the_time_at_the_end() -> None:
    """One after the other they would take longer than a program may."""
    ended = run(
        """
        shippers = [Shipper(host, shutdown_timeout=1.5, index=f"i{number}") for number in range(50)]
        for shipper in shippers:
            put(shipper, 1)
        """,
        closed_port(),
        complains=True,
    )

    assert 50 == ended.stderr.count("beats: 0 delivered, 0 spooled, 1 lost (shutdown 1)")


def test_what_a_thread_puts_after_the_main_one_has_ended_is_delivered() -> None:
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host)
            put(shipper, 1)

            def go_on():
                threading.main_thread().join()
                put(shipper, *range(2, 500))

            threading.Thread(target=go_on).start()
            """,
            receiver.host,
        )

        assert list(range(1, 500)) == ids(receiver.events)


@pytest.mark.parametrize("first", ["", "put(shipper, 1)"], ids=["first put of all", "not the first put"])
def test_what_an_exit_handler_puts_is_delivered(first: str) -> None:
    """Python 3.12 starts no thread any more then: the first put of all is delivered by the handler of ours."""
    with Receiver() as receiver:
        run(
            f"""
            import atexit
            shipper = Shipper(host)
            atexit.register(put, shipper, 2, 3)
            {first}
            """,
            receiver.host,
            complains=True,
        )

        assert ([1] if first else []) + [2, 3] == ids(receiver.events)


def test_what_is_put_after_our_own_exit_handler_is_refused_and_counted() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            shipper = Shipper(host)
            put(shipper, 1)
            """,
            receiver.host,
            before="""
            import atexit

            @atexit.register
            def last():
                print(shipper.put({"id": 2}), dict(shipper.stats().dropped), shipper.flush())
            """,
        )

        assert ended.stdout == "False {'closed': 1} True\n"
        assert [1] == ids(receiver.events)


def test_daemon_threads_that_go_on_putting_lose_nothing_that_was_accepted() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            shipper = Shipper(host, shutdown_timeout=30)
            accepted = [0] * 4

            def go_on(thread):
                while True:
                    accepted[thread] += shipper.put({"id": thread})

            for thread in range(4):
                threading.Thread(target=go_on, args=(thread,), daemon=True).start()
            while not all(accepted):
                time.sleep(0.001)
            """,
            receiver.host,
            before="""
            import atexit, json

            @atexit.register
            def last():
                stats = shipper.stats()
                print(json.dumps([sum(accepted), stats.accepted, stats.acked]))
            """,
            complains=True,  # that events are refused
        )
        said, accepted, acked = json.loads(ended.stdout)

        assert accepted == acked == len(receiver.events)
        assert accepted - 4 <= said <= accepted  # each thread may just have been told


def test_a_shipper_that_was_never_used_costs_nothing_at_the_end() -> None:
    ended = run(
        """
        shipper = Shipper(host, shutdown_timeout=30)
        print(threading.active_count())
        """,
        closed_port(),
    )

    assert ended.stdout == "1\n"


def test_a_stuck_connection_does_not_hold_up_the_end() -> None:
    """The receiver's queue of connections is full: it answers no SYN."""
    run(
        """
        import socket
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        shipper = Shipper(f"127.0.0.1:{listener.getsockname()[1]}", shutdown_timeout=0.2)
        put(shipper, 1)
        while not shipper.stats().pending:
            time.sleep(0.001)
        """,
        "",
        complains=True,
    )


# The other libraries' own endings.

BEFORE_OURS = {"logging": "", "loguru, imported first": "import loguru", "loguru, imported last": ""}


@pytest.mark.parametrize("library", BEFORE_OURS)
def test_what_is_logged_to_the_very_end_is_delivered_whoever_ends_first(library: str) -> None:
    """Python ends logging with `shutdown`, loguru itself with `remove`, each in an exit handler."""
    if library == "logging":
        setup = (
            "import logging; from beats_integrations.logging import BeatsHandler; "
            "logging.getLogger().addHandler(BeatsHandler(hosts=[host])); log = logging.warning"
        )
    else:
        setup = (
            "from loguru import logger; from beats_integrations.loguru import BeatsSink; logger.remove(); "
            "logger.add(BeatsSink(hosts=[host])); log = logger.warning"
        )
    with Receiver() as receiver:
        run(
            f"""
            import atexit
            {setup}
            atexit.register(log, "last")
            log("first")
            """,
            receiver.host,
            before=BEFORE_OURS[library],
        )

        assert ["first", "last"] == [event["message"] for event in receiver.events]


@pytest.mark.parametrize("when", ["logging.shutdown()", "handler.close()", "handler.outlet.shipper.close()"])
def test_logging_during_and_after_the_end_of_a_handler_harms_nobody(when: str) -> None:
    with Receiver() as receiver:
        run(
            f"""
            import itertools, logging
            from beats_integrations.logging import BeatsHandler
            handler = BeatsHandler(hosts=[host], shutdown_timeout=30)
            logging.getLogger().addHandler(handler)
            logging.getLogger().setLevel("INFO")
            stop = threading.Event()

            def go_on():
                for number in itertools.count():
                    logging.info("%s", number)
                    if stop.wait(0.0001):
                        return

            threads = [threading.Thread(target=go_on) for _ in range(4)]
            for thread in threads:
                thread.start()
            while handler.outlet.shipper.stats().acked < 100:
                time.sleep(0.001)
            {when}
            logging.info("afterwards")
            stop.set()
            for thread in threads:
                thread.join()
            stats = handler.outlet.shipper.stats()
            assert (stats.accepted, 0) == (stats.acked, stats.inbox + stats.pending + stats.in_flight), stats
            """,
            receiver.host,
            complains=True,  # of what was refused
        )

        assert "afterwards" not in [event["message"] for event in receiver.events]


def test_a_shipper_that_fails_at_the_end_keeps_no_other_from_delivering() -> None:
    with Receiver() as receiver:
        run(
            """
            class Failing(Shipper):
                def finish(self, began, *, close):
                    raise OSError("the disk is gone")

            shippers = [Failing(host) if number % 2 else Shipper(host) for number in range(8)]
            for shipper in shippers:
                if type(shipper) is Shipper:
                    put(shipper, 1)
            """,
            receiver.host,
            complains=True,
        )

        assert [1] * 4 == ids(receiver.events)
