"""Real proxies from PyPI, in a process of their own, which knows a name that this one does not.

tiny-proxy says what it dislikes. pproxy closes without a word, answers SOCKS5 before it has reached anybody, and
reaches IPv6 by HTTP as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
KNOWN_TO_PROXIES = "receiver.test"  # as 127.0.0.1
CREDENTIALS = "user:p%40ss%3Aword"  # as in a URL
USERNAME, PASSWORD = "user", "p@ss:word"


@contextmanager
def running_proxies() -> Iterator[dict[str, str]]:
    """Run all of them; yield their URLs by name: "tiny socks5", "tiny http with credentials", "pproxy http"…"""
    with subprocess.Popen(
        [sys.executable, "-m", "support.proxies"],
        cwd=REPOSITORY / "tests",
        env={**os.environ, "PYTHONWARNINGS": "ignore"},  # theirs, not ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        urls: dict[str, str] = json.loads(program.stdout.readline())
        try:
            yield urls
        finally:
            program.stdin.close()  # its sign to end


async def serve() -> None:
    import anyio
    import pproxy
    from tiny_proxy import HttpProxyHandler, Socks5ProxyHandler

    urls = {}
    tasks = []
    for kind, make in (("socks5", Socks5ProxyHandler), ("http", HttpProxyHandler)):
        for name, credentials, prefix in (
            (f"tiny {kind}", (), ""),
            (f"tiny {kind} with credentials", (USERNAME, PASSWORD), f"{CREDENTIALS}@"),
        ):
            listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
            tasks.append(asyncio.ensure_future(listener.serve(make(*credentials).handle)))
            port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's, not Django's
            urls[name] = f"{kind}://{prefix}127.0.0.1:{port}"
    server = await pproxy.Server("http+socks5://127.0.0.1:0").start_server({"rserver": []})
    port = server.sockets[0].getsockname()[1]
    urls |= {"pproxy socks5": f"socks5://127.0.0.1:{port}", "pproxy http": f"http://127.0.0.1:{port}"}
    sys.stdout.write(f"{json.dumps(urls)}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()


def know_the_name() -> None:
    """Teach this process what the test's does not know."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        known = host in (KNOWN_TO_PROXIES, KNOWN_TO_PROXIES.encode())
        return look_up("127.0.0.1" if known else host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo


if __name__ == "__main__":
    know_the_name()
    asyncio.run(serve())
