"""What some tests need and a machine may lack: Go, Redis, RabbitMQ, uWSGI, and what makes faults.

Without them those tests skip and say how to get the tool. With BEATS_TESTS_REQUIRE=all, as in CI,
a missing tool is a failure: nothing may look tested that was not.
"""

from __future__ import annotations

import os
import shutil
import sysconfig

import pytest

_HOW_TO_GET = {
    "go": "https://go.dev/dl, or: apt install golang-go",
    "redis-server": "apt install redis-server",
    "rabbitmq-server": "apt install rabbitmq-server",
    "uwsgi": "pip install uwsgi, with a C compiler, into the environment of these tests",
    "faketime": "apt install faketime",
    "ip": "apt install iproute2",
    "iptables": "apt install iptables",
    "mkfs.ext4": "apt install e2fsprogs",
    "mount": "apt install mount",
    "nft": "apt install nftables",
    "ss": "apt install iproute2",
    "strace": "apt install strace",
    "tc": "apt install iproute2",
}
# Go's own installer and Debian's RabbitMQ put their programs where the PATH of an ordinary user does not lead.
_BESIDE_PATH = ("/usr/local/go/bin", "/usr/sbin", "/sbin", "/usr/lib/rabbitmq/bin")


def everything_required() -> bool:
    """Tell whether a missing tool, or any other reason to skip, counts as a failure."""
    return os.environ.get("BEATS_TESTS_REQUIRE") == "all"


def require(name: str) -> str:
    """Return the path of an executable, or end the test that needs it.

    Args:
        name: A program that `_HOW_TO_GET` has.
    """
    own = sysconfig.get_path("scripts")  # of the environment the tests run in, active or not
    found = shutil.which(name, path=os.pathsep.join([own, os.environ.get("PATH", os.defpath), *_BESIDE_PATH]))
    if found is not None:
        return found
    reason = f"{name} is not installed ({_HOW_TO_GET[name]})"
    if everything_required():
        pytest.fail(f"{reason}, and BEATS_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)
