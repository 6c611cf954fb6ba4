"""A web application that logs once while it is imported and once per request; BEATS_HOSTS says where to.

With WEB_PATCH=gevent it is patched first, as its own first lines would do it.
"""

from __future__ import annotations

import os
from importlib import import_module

if os.environ.get("WEB_PATCH") == "gevent":
    import_module("gevent.monkey").patch_all()

from collections.abc import Callable, Iterable
from typing import Any

from beats_core import Shipper

shipper = Shipper()
assert shipper.put({"id": "imported", "process": os.getpid()})


def application(environment: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    accepted = shipper.put({"id": environment["PATH_INFO"].strip("/"), "process": os.getpid()})
    start_response("200 OK" if accepted else "503 Service Unavailable", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
