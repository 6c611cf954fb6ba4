"""What a producer does to itself while it ships: starve, hoard, storm."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

_STORM_INTERVAL = 0.002  # seconds


@contextmanager
def busy_threads() -> Iterator[None]:
    """Four threads that compute and never wait."""
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow beyond 512 KiB; the ledger of a row stays far below."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, resource.RLIM_INFINITY))
    yield


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Not one descriptor is left, until the first events were put and have been waiting for a while."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    hoard = []
    try:
        while True:
            hoard.append(os.dup(2))
    except OSError:
        pass

    def release() -> None:
        for descriptor in hoard:
            os.close(descriptor)

    timer = threading.Timer(1.5, release)
    timer.start()
    yield
    timer.join()


@contextmanager
def little_memory() -> Iterator[None]:
    """Hardly more address space than there is in use, so that allocations fail now and then."""
    pages = int(open("/proc/self/statm").read().split()[0])  # noqa: SIM115, PTH123 - one line
    most = pages * resource.getpagesize() + (48 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def hoards_memory() -> Iterator[None]:
    """A thread that takes more and more memory, until somebody stops the process."""
    hoard: list[bytearray] = []
    done = threading.Event()

    def take() -> None:
        while not done.wait(0.01):
            hoard.append(bytearray(os.urandom(1 << 20)))

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


def named(name: str) -> AbstractContextManager[None]:
    return _ALL[name]()


_ALL: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    body.__name__: body for body in (busy_threads, small_files, no_descriptors, little_memory, hoards_memory)
}
