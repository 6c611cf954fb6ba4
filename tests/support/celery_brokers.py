"""Brokers for tests: files in a folder, and real Redis and RabbitMQ servers, each with a data directory of its own.

Servers listen on free loopback ports and end with their `with` block.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import kombu
import redis

from beats_integrations.demo import broker
from support.requirements import require

START_LIMIT = 60.0  # seconds; RabbitMQ takes 3 to 10
STOP_LIMIT = 20.0


@dataclass(frozen=True)
class Broker:
    """Where a Celery app finds its broker."""

    url: str
    transport_options: Mapping[str, object] = field(default_factory=dict)


@contextmanager
def filesystem_broker() -> Iterator[Broker]:
    """Queues as folders of files: no server, any number of processes."""
    with _folder("files") as folder:
        yield Broker(broker.URL, broker.transport_options(str(folder)))


@contextmanager
def redis_broker() -> Iterator[Broker]:
    """Start a Redis that keeps nothing on disk."""
    program, port = require("redis-server"), free_port()
    with _folder("redis") as folder:
        command = [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        with _server(command, folder, os.environ, lambda: _redis_answers(port)):
            yield Broker(f"redis://127.0.0.1:{port}/0")


@contextmanager
def rabbitmq_broker() -> Iterator[Broker]:
    """Start a RabbitMQ node without plugins, with an Erlang port mapper (epmd) of its own."""
    program, port, mapper_port = require("rabbitmq-server"), free_port(), free_port()
    # Debian's program in /usr/sbin is a wrapper that insists on the system's own user and directories.
    inner = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    program = str(inner) if inner.exists() else program
    with _folder("rabbitmq") as folder:
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{port}\n"
            "log.console = true\n"
            "log.file = false\n"
            "disk_free_limit.absolute = 1MB\n"  # the default blocks publishers on a nearly full disk
        )
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),  # for .erlang.cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(mapper_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_NODENAME": f"beats-{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            # One scheduler that sleeps instead of spinning: the tests share few cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }
        url = f"amqp://guest:guest@127.0.0.1:{port}//"
        try:
            with _server([program], folder, environment, lambda: _rabbitmq_answers(url)):
                yield Broker(url)
        finally:
            # Erlang starts its port mapper as a daemon and leaves it; this port names only ours.
            mapper = shutil.which("epmd")
            if mapper is not None:
                command = [mapper, "-port", str(mapper_port), "-kill"]
                subprocess.run(command, capture_output=True, timeout=STOP_LIMIT, check=False)


BROKERS: Mapping[str, Callable[[], AbstractContextManager[Broker]]] = {
    "filesystem": filesystem_broker,
    "redis": redis_broker,
    "rabbitmq": rabbitmq_broker,
}


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def _folder(name: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"beats-{name}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _server(
    command: list[str], folder: Path, environment: Mapping[str, str], answers: Callable[[], bool]
) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a group of its own, so that nothing it starts can stay
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_LIMIT)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_LIMIT)


def _redis_answers(port: int) -> bool:
    with redis.Redis(port=port, socket_timeout=2.0) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def _rabbitmq_answers(url: str) -> bool:
    with kombu.Connection(url, connect_timeout=2.0) as connection:
        try:
            connection.connect()
        except connection.connection_errors:
            return False
        return True
