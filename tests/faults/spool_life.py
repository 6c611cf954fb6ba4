"""One short life of a spool, told line by line: what it is about to do, and what it has done.

    python spool_life.py DIRECTORY once|journal

Whoever started it knows at each moment what was promised. In it everything happens that changes the disk: parts are
adopted and made, segments written, rolled, synced, settled and removed.
"""

from __future__ import annotations

import os
import sys

from beats_core.errors import SpoolError
from beats_core.spool import Spool

BEGIN = "/the-life-of-a-spool-begins"  # looked for, so that it is seen in a trace


def tell(*words: object) -> None:
    line = " ".join(map(str, words)).encode() + b"\n"
    while line:
        try:
            line = line[os.write(1, line) :]
        except OSError:  # injected
            continue


class Life:
    def __init__(self, directory: str, *, journal: bool) -> None:
        self.spool = Spool(directory, max_bytes=1 << 30, min_free_bytes=0, segment_bytes=150, journal=journal)
        self.journal = journal
        self.read: list[str] = []
        self.settled = 0

    def keep(self, *numbers: int) -> None:
        for some in [[number] for number in numbers] if self.journal else [list(numbers)]:
            tell("keeping", *some)
            payloads = [b'{"n":%d}' % number for number in some]
            try:
                if self.journal:
                    self.spool.write(payloads[0])
                    self.spool.tend()
                else:
                    self.spool.append(payloads)
            except SpoolError:
                tell("refused", *some)
            else:
                tell("kept", *some)

    def take(self, count: int) -> None:
        while count and (taken := self.spool.read(count, 1 << 20)):
            self.read += [payload[5:-1].decode() for payload in taken]
            count -= len(taken)

    def settle(self, until: int) -> None:
        until = min(until, len(self.read))
        tell("settling", *self.read[self.settled : until])
        self.spool.settle([(until, 1 << 62)])
        tell("settled", *self.read[self.settled : until])
        self.settled = until


def main(directory: str, how: str) -> None:
    os.access(BEGIN, os.F_OK)
    life = Life(directory, journal=how == "journal")
    life.spool.adopt()
    life.take(2)
    life.settle(1)
    life.keep(11, 12, 13)
    life.keep(14, 15)
    life.spool.sync()
    life.take(6)
    life.settle(5)
    life.keep(16)
    life.keep(17, 18, 19)
    life.take(4)
    life.settle(9)
    life.spool.sync()
    life.spool.close()
    tell("closed")
    life.keep(20)


if __name__ == "__main__":
    main(*sys.argv[1:])
