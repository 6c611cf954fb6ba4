"""A soak: events without end through the spool while the receivers are killed every few seconds.

    python -m faults.soak [--minutes 30] [--events 20000000] [--plot soak.svg]

One producer ships to two receivers, each a process of its own; one of them is killed and started again, in turn. It
ends after that many minutes or events, whichever comes first. Ends with 0 only if nothing is lost, the memory does not
grow after the first tenth of the time, and the spool's directory is as small at the end as it was at the beginning.
Until the shipper has a spool it runs without one. The ledgers take 2.5 GB of temporary space.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

if not __package__:  # run as a program
    sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import ledgers
from faults.processes import Producer
from faults.scene import HAS_SPOOL, Scene
from faults.table import Row, lines

MINUTES, EVENTS = 30.0, 20_000_000
THREADS = 4
KILL_EVERY = (2.0, 5.0)  # seconds
DOWN = (0.0, 1.0)
SAMPLE_EVERY = 0.5
GROWTH = 64 << 20  # bytes that come and go with each outage: the queue's 16 MiB, windows, and what malloc keeps of them
LEFT_ON_DISK = 1 << 20  # bytes that an empty spool may take: its lock, and one segment that was just begun


@dataclass(frozen=True)
class Sample:
    """What was measured at one moment, in bytes."""

    at: float
    memory: int
    disk: int


class LongScene(Scene):
    """A scene with so many events that they cannot be kept in memory one by one."""

    def balance(self) -> ledgers.Balance:
        [producer] = self.producers
        arrived = self.directory.glob("arrived*")
        return ledgers.tally([Path(producer.order.ledger)], arrived, THREADS, producer.order.events)


def soak(scene: Scene, minutes: float, events: int, seed: int) -> list[Sample]:
    """Run to the end and judge; return what was measured meanwhile."""
    chance = random.Random(seed)
    sinks = [scene.sink(), scene.sink()]
    stop = time.monotonic() + minutes * 60
    rate = events / (MINUTES * 60) / THREADS
    producer = scene.producer(
        [sink.host for sink in sinks],
        threads=THREADS,
        events=int(min(events / THREADS, rate * minutes * 60)),
        rate=rate,
        options={"loadbalance": True, "bulk_max_size": 2048},
        end_at=scene.path("end"),
        closing=120.0,
    )
    samples: list[Sample] = []
    began = time.monotonic()
    while producer.process.poll() is None and time.monotonic() < stop:
        sink = chance.choice(sinks)
        _pass(chance.uniform(*KILL_EVERY), producer, scene, samples, began)
        sink.kill()
        _pass(chance.uniform(*DOWN), producer, scene, samples, began)
        sink.start()
    producer.release()
    while producer.process.poll() is None:
        _pass(SAMPLE_EVERY, producer, scene, samples, began)
    return samples


def _pass(seconds: float, producer: Producer, scene: Scene, samples: list[Sample], began: float) -> None:
    """Let that time pass, and measure."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and producer.process.poll() is None:
        memory = _memory(producer.pid)
        if memory:
            samples.append(Sample(time.monotonic() - began, memory, _disk(scene.spool)))
        time.sleep(SAMPLE_EVERY)


def _memory(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def _disk(directory: Path) -> int:
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except OSError:  # it was just removed
            continue
    return total


def complaints(samples: Sequence[Sample], left: int) -> Iterator[str]:
    """Whatever is not flat, or not back."""
    settled = samples[len(samples) // 10 :]
    first = settled[: max(1, len(settled) // 5)]
    last = settled[-max(1, len(settled) // 5) :]
    growth = _median(sample.memory for sample in last) - _median(sample.memory for sample in first)
    if growth > GROWTH:
        yield f"the memory grew by {growth >> 20} MiB"
    if left > LEFT_ON_DISK:
        yield f"{left} bytes are left on disk"


def _median(numbers: Iterable[int]) -> int:
    ordered = sorted(numbers)
    return ordered[len(ordered) // 2]


def plot(samples: Sequence[Sample]) -> str:
    """Return an SVG of memory and disk over time."""
    width, height, margin = 900, 360, 50
    inner = width - 2 * margin
    latest = max(sample.at for sample in samples) or 1.0
    most = max(max(sample.memory, sample.disk) for sample in samples) * 1.1

    def path(values: Iterable[tuple[float, int]]) -> str:
        return " ".join(
            f"{margin + at / latest * inner:.1f},{height - margin - value / most * (height - 2 * margin):.1f}"
            for at, value in values
        )

    curves = [
        ("#1f77b4", "memory (RSS)", path((sample.at, sample.memory) for sample in samples)),
        ("#d62728", "spool on disk", path((sample.at, sample.disk) for sample in samples)),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="13">',
        f'<path d="M{margin},{margin} V{height - margin} H{width - margin}" fill="none" stroke="#888"/>',
        f'<text x="{margin}" y="{height - 15}">0</text>',
        f'<text x="{width - margin}" y="{height - 15}" text-anchor="end">{latest / 60:.1f} minutes</text>',
        f'<text x="{margin}" y="{margin - 10}">{most / (1 << 20):.0f} MiB</text>',
    ]
    for number, (colour, name, points) in enumerate(curves):
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{width - 170}" y="{margin + 18 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--events", type=int, default=EVENTS, help="in 30 minutes; a shorter run has its share")
    parser.add_argument("--plot", type=Path, default=Path("docs/_build/soak.svg"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    durability = "spool" if HAS_SPOOL else "memory"
    row = Row("F60", f"receivers killed every few seconds for {arguments.minutes:g} minutes", durability)
    with tempfile.TemporaryDirectory() as directory:
        scene = LongScene(Path(directory), row, durability)
        try:
            samples = soak(scene, arguments.minutes, arguments.events, arguments.seed)
            try:
                scene.judge()
            except AssertionError as error:
                row.notes.append(str(error))
            left = _disk(scene.spool)
        finally:
            scene.close()
    wrong = list(complaints(samples, left))
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    arguments.plot.write_text(plot(samples))
    memory = [sample.memory >> 20 for sample in samples]
    sizes = f"memory {memory[0]} MiB at first, {max(memory)} at most, {memory[-1]} at last"
    disk = f"disk {max(sample.disk for sample in samples) >> 20} MiB at most, {left} bytes at last"
    summary = [
        *lines([row]),
        f"{sizes}; {disk}; plot: {arguments.plot}",
        *wrong,
        f"The same again: --minutes {arguments.minutes:g} --events {arguments.events} --seed {arguments.seed}",
    ]
    sys.stdout.write("\n".join(summary) + "\n")
    return 0 if row.verdict == "yes" and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
