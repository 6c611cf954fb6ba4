"""Whatever is thrown at a Receiver: only the connection that threw it ends, and memory stays within its bounds."""

from __future__ import annotations

import logging
import random
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beats_core import Receiver
from support.wire import Sender, a, c, d, events, j, raw_c, w, window

pytestmark = pytest.mark.usefixtures("no_receiver_left_behind")

# Each example is a connection of its own to one receiver; fewer of them do.
over_the_line = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

lengths = st.sampled_from([0, 1, 2, 5, 255, 10_001, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
frames = st.one_of(
    st.builds(w, st.integers(0, 3), st.sampled_from([1, 2])),
    st.builds(j, st.integers(0, (1 << 32) - 1), st.sampled_from([b"{}", b'{"a":1}', b"\xff", b""])),
    st.builds(lambda size: b"2J\0\0\0\x01" + struct.pack(">I", size) + b"{}", lengths),
    st.builds(lambda size: b"2C" + struct.pack(">I", size) + b"x\x9c", lengths),
    st.builds(lambda size: b"1D\0\0\0\x01" + struct.pack(">I", size) + b"\0\0\0\x01a", lengths),
    st.builds(d, st.integers(0, 9), st.dictionaries(st.binary(max_size=3), st.binary(max_size=3), max_size=3)),
    st.builds(a, st.integers(0, 9)),
    st.builds(c, st.builds(events, st.lists(st.just(b"{}"), max_size=4))),
    st.builds(raw_c, st.binary(max_size=20)),
    st.binary(max_size=8),
)


@pytest.fixture
def receiver(caplog: pytest.LogCaptureFixture) -> Iterator[Receiver]:
    """One that may log what senders do, but no failure of its own."""
    with caplog.at_level(logging.CRITICAL, "beats_core.receiver"), Receiver(max_bytes=1 << 20, timeout=5) as receiver:
        yield receiver


def attack(receiver: Receiver, data: bytes) -> bytes:
    with Sender(receiver.host) as sender:
        sender.send(data)
        sender.line.shutdown(socket.SHUT_WR)
        return sender.rest()


def is_well(receiver: Receiver) -> bool:
    receiver.clear()
    with Sender(receiver.host) as sender:
        sender.send(window(b'{"well":true}'))
        return a(1) == sender.read(6) and [{"well": True}] == receiver.events


@over_the_line
@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_harm_nobody(receiver: Receiver, data: bytes) -> None:
    attack(receiver, data)

    assert is_well(receiver)


@over_the_line
@given(parts=st.lists(frames, max_size=8))
def test_arbitrary_frames_harm_nobody_and_are_answered_by_acks_only(receiver: Receiver, parts: list[bytes]) -> None:
    answer = attack(receiver, b"".join(parts))

    assert {b"2A", b"1A"} >= {answer[at : at + 2] for at in range(0, len(answer), 6)}
    assert 0 == len(answer) % 6
    assert is_well(receiver)


@over_the_line
@given(seed=st.integers(0, 1 << 32), flips=st.integers(1, 5))
def test_damaged_windows_harm_nobody(receiver: Receiver, seed: int, flips: int) -> None:
    chance = random.Random(seed)
    data = bytearray(window(*[b'{"message":"%d"}' % n for n in range(20)]) * 2)
    for _ in range(flips):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    attack(receiver, bytes(data))

    assert is_well(receiver)


def bomb(size: int) -> bytes:
    """As many zeros as that, in a thousandth of the bytes."""
    return zlib.compress(b"\0" * size, 9)


ATTACKS = {
    "a bomb": w(1) + raw_c(bomb(100 << 20)),
    "a bomb of small events": w(10_000) + c(events([b"{}"] * 10_000) * 20, level=9),
    "a bomb in a bomb": w(1) + c(raw_c(bomb(100 << 20))),
    "many bombs": b"".join(w(1) + c(j(1, b" " * 900_000), level=9) for _ in range(40)),
    "a length and no end": w(1) + b"2J\0\0\0\x01\x00\xff\xff\xff" + b"x" * (4 << 20),
    "half a compressed frame": w(1) + b"2C\x00\xff\xff\xff" + b"x" * (4 << 20),
    "texts that grow as JSON": w(1, 1) + c(d(1, {b"a": b"\0" * 900_000}), 1, level=9),
    "empty windows": w(0) * 500_000,
}


# In a process of its own, whose peak of memory is its own; its ru_maxrss would be that of the process it came from.
PROGRAM = """
import logging, pathlib, sys
from beats_core import Receiver
logging.disable()
with Receiver(consume=len, max_bytes=1 << 20, timeout=5) as receiver:
    print(receiver.host, flush=True)
    for _ in sys.stdin:
        status = pathlib.Path("/proc/self/status").read_text()
        print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak of memory")
@pytest.mark.parametrize("attack_bytes", ATTACKS.values(), ids=ATTACKS)
def test_memory_stays_within_its_bounds(attack_bytes: bytes) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        host = program.stdout.readline().strip()

        def peak(sender: Sender) -> int:
            sender.send(window(b"{}"))
            assert a(1) == sender.read(6)
            print("?", file=program.stdin)
            return int(program.stdout.readline()) << 10 if program.stdout else 0

        with Sender(host) as witness:
            before = peak(witness)
            for _ in range(8):
                with Sender(host) as attacker, suppress(ConnectionError):
                    attacker.send(attack_bytes)
                    attacker.line.shutdown(socket.SHUT_WR)
                    attacker.rest()
            grown = peak(witness) - before
        program.stdin.close()

    # The bound is 1 MiB for what is held; a few copies of one frame are on their way through the parser, and what
    # was freed is not all given back.
    assert grown < 24 << 20
