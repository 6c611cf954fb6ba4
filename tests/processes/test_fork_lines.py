"""Forked while one line takes the place of another: the parent goes on with both, the child has neither."""

from __future__ import annotations

import json
from collections import Counter

from beats_core import Receiver
from support.programs import run
from support.scripted import Scripted, answering, silence


def test_forked_in_the_middle_of_a_hand_over_a_child_holds_none_of_its_parents_connections() -> None:
    with Scripted(answering(silence)) as server:
        run(
            """
            shipper = Shipper(host, ttl=0.05, bulk_max_size=1, flush_interval=0, shutdown_timeout=0)
            put(shipper, 0, 1)
            while not shipper.stats().hosts or shipper.stats().hosts[host].connections < 2:
                time.sleep(0.001)
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                assert shipper.stats().hosts[host].in_flight == 2
            else:
                sockets = [
                    link
                    for name in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{name}")
                    and (link := os.readlink(f"/proc/self/fd/{name}")).startswith("socket:")
                ]
                os._exit(len(sockets))
            """,
            server.host,
            complains=True,  # about what nobody acknowledged
        )


def test_forked_while_lines_change_each_process_delivers_its_own_events_once() -> None:
    with Receiver() as receiver:
        printed = run(
            """
            import json
            shipper = Shipper(host, ttl=0.01, bulk_max_size=20, pipelining=4, flush_interval=0.001, shutdown_timeout=30)
            number = 0
            for child in range(10):
                connections = shipper.stats().hosts[host].connections if number else 0
                while not number or shipper.stats().hosts[host].connections < connections + 2:
                    put(shipper, *range(number, number + 10))
                    number += 10
                    time.sleep(0.0005)
                pid = os.fork()
                if not pid:
                    put(shipper, *range(-20 * child - 20, -20 * child))
                    sys.exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            stats = shipper.close()
            print(json.dumps([number, stats.acked, stats.resent, stats.hosts[host].connections]))
            """,
            receiver.host,
        ).stdout
        number, acked, resent, connections = json.loads(printed)

        assert (number, 0) == (acked, resent)
        assert connections > 20
        assert Counter(range(-200, number)) == Counter(event["id"] for event in receiver.events)


# `sockets()`: how many this process has.
SOCKETS = """
def sockets():
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            pass
    return count
"""


def test_forked_while_it_connects_a_child_holds_nothing_of_its_parents() -> None:
    """The receiver's queue of connections is full: it answers no SYN."""
    run(
        f"""
        import socket
        {SOCKETS.replace(chr(10), chr(10) + " " * 8)}
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        before = sockets()
        shipper = Shipper(f"127.0.0.1:{{listener.getsockname()[1]}}", shutdown_timeout=0)
        put(shipper, 1)
        while sockets() < before + 3:  # the bell's two, and the one being connected
            time.sleep(0.001)
        child = os.fork()
        if not child:
            os._exit(sockets() - before)
        assert os.waitpid(child, 0)[1] == 0
        """,
        "",
        complains=True,  # about what was not delivered, and what Python finds open
    )


def test_forked_in_the_middle_of_a_tls_handshake_a_child_holds_nothing_of_its_parents() -> None:
    with Scripted(lambda peer: peer.closed.wait(60)) as server:
        run(
            f"""
            {SOCKETS.replace(chr(10), chr(10) + " " * 12)}
            shipper = Shipper(host, ssl={{"verification_mode": "none"}}, shutdown_timeout=0)
            put(shipper, 1)
            while sockets() < 3 or not any(frame for frame in sys._current_frames().values() if shakes_hands(frame)):
                time.sleep(0.001)
            child = os.fork()
            if not child:
                os._exit(sockets())
            assert os.waitpid(child, 0)[1] == 0
            """,
            server.host,
            before="""
            def shakes_hands(frame):
                while frame is not None and frame.f_code.co_name != "do_handshake":
                    frame = frame.f_back
                return frame is not None
            """,
            complains=True,
        )
