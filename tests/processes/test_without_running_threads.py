"""uWSGI before 2.0.27 starts threads and never runs them, unless it is told to: each put delivers for itself.

What tells is the module `uwsgi`, which a program finds only in there; here it is made up.
"""

from __future__ import annotations

import pytest

from beats_core import Receiver
from support.programs import run
from support.scripted import Scripted, acknowledged, after, answering, closes, silence
from support.shippers import closed_port, ids

UWSGI = """
import sys, types
options = {"master": True, "workers": b"2"}
sys.modules["uwsgi"] = types.SimpleNamespace(worker_id=lambda: 1, opt=options, version=b"2.0.26")
"""
WARNING = "set enable-threads = true"


def test_each_put_delivers_and_says_once_what_to_set() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            shipper, other = Shipper(host), Shipper(host, index="other")
            for number in range(100):
                put(shipper, number)
                assert shipper.stats().acked == number + 1
            put(other, 100)
            assert threading.active_count() == 1
            print(shipper.stats().hosts[host].connections)
            """,
            receiver.host,
            before=UWSGI,
            complains=True,
        )

        assert list(range(101)) == ids(receiver.events)
    assert "1\n" == ended.stdout  # for all of them
    assert 1 == ended.stderr.count("\n")
    assert WARNING in ended.stderr


@pytest.mark.parametrize(
    "uwsgi",
    [
        '{"enable-threads": True}, version=b"2.0.26"',
        '{"threads": b"2"}, version=b"2.0.26"',
        '{"enable-threads": b"true"}, version=b"2.0.19.1"',
        '{}, version=b"2.0.27"',
        '{}, version=b"2.1-dev"',
    ],
)
def test_where_threads_run_nothing_is_different(uwsgi: str) -> None:
    with Receiver() as receiver:
        run(
            "shipper = Shipper(host)\nput(shipper, 1)\nassert threading.active_count() == 3",
            receiver.host,
            before=f"import sys, types\nsys.modules['uwsgi'] = types.SimpleNamespace(worker_id=lambda: 1, opt={uwsgi})",
        )

        assert [1] == ids(receiver.events)


def test_where_nobody_acknowledges_not_each_put_waits() -> None:
    """A hundred seconds would be more than a program of a test may take."""
    with Scripted(answering(silence)) as quiet:
        run(
            """
            shipper = Shipper([host, sys.argv[2]], shutdown_timeout=0, backoff_init=0.01, backoff_max=0.01)
            put(shipper, *range(100))
            """,
            closed_port(),
            quiet.host,
            before=UWSGI,
            complains=True,
        )


def test_a_line_that_the_receiver_closed_is_replaced() -> None:
    with Scripted(answering(after(acknowledged, closes)), answering(acknowledged)) as server:
        run(
            """
            shipper = Shipper(host, backoff_init=0.01)
            put(shipper, 1)
            assert shipper.stats().acked == 1
            while shipper.stats().acked < 2:
                put(shipper, 2)
            """,
            server.host,
            before=UWSGI,
            complains=True,
        )

        assert {1, 2} == set(server.ids)


@pytest.mark.parametrize("end", ["", "assert shipper.flush()", "assert shipper.close().lost == 0"])
def test_finalisers_and_signal_handlers_may_put_while_another_put_delivers(end: str) -> None:
    with Receiver() as receiver:
        ended = run(
            f"""
            import gc, itertools
            shipper = Shipper(host, shutdown_timeout=30)
            numbers = itertools.count()

            def put_one(*_):
                put(shipper, next(numbers))

            class Finalised:
                def __init__(self):
                    self.itself = self

                def __del__(self):
                    put_one()

            signal.signal(signal.SIGALRM, put_one)
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            gc.set_threshold(7)
            for _ in range(300):
                Finalised()
                put_one()
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.collect()
            gc.set_threshold(0)
            {end}
            print(next(numbers))
            """,
            receiver.host,
            before=UWSGI,
            complains=True,
        )

        assert list(range(int(ended.stdout))) == sorted(ids(receiver.events))


def test_a_child_has_a_line_of_its_own_and_nothing_is_left_open() -> None:
    with Receiver() as receiver:
        run(
            """
            def lines():
                count = 0
                for name in os.listdir("/proc/self/fd"):
                    try:
                        count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
                    except OSError:
                        pass
                return count

            shipper = Shipper(host)
            put(shipper, 1)
            child = os.fork()
            put(shipper, 2)
            shipper.close()
            assert lines() == 0
            if child:
                assert os.waitpid(child, 0)[1] == 0
            """,
            receiver.host,
            before=UWSGI,
            complains=True,
        )

        assert [1, 2, 2] == sorted(ids(receiver.events))


def test_before_uwsgi_forks_no_thread_is_started_and_nothing_is_said() -> None:
    """A thread that waits for the GIL at that moment breaks the child's."""
    with Receiver() as receiver:
        run(
            """
            shipper = Shipper(host)
            put(shipper, 1)
            assert (shipper.stats().acked, threading.active_count()) == (1, 1)
            uwsgi.worker = 1
            put(shipper, 2)
            assert threading.active_count() == 3
            """,
            receiver.host,
            before="""
            import sys, types
            uwsgi = types.SimpleNamespace(worker=0, opt={}, version=b"2.0.31")
            uwsgi.worker_id = lambda: uwsgi.worker
            sys.modules["uwsgi"] = uwsgi
            """,
        )

        assert [1, 2] == ids(receiver.events)
