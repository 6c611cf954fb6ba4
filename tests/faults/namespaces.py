"""Two network namespaces with a line between them, on which nftables, iptables and tc can do what networks do.

All traffic stays inside: neither namespace has a way out. Both are removed at the end, and what an earlier run left
behind when it was killed is removed at the next beginning.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from support.requirements import everything_required, require

NEAR, FAR = "10.231.0.1", "10.231.0.2"
ELSEWHERE = "10.231.0.3"  # another address of the far side
NEAR_6, FAR_6 = "fd00:231::1", "fd00:231::2"
_PREFIX = "beats-faults-"
_RULES = """table inet faults {{
    chain arriving {{
        type filter hook input priority 0; policy accept;
        {rule}
    }}
}}
"""


class Network:
    """The namespaces. The producer runs in the near one, the receiver in the far one."""

    def __init__(self) -> None:
        ip = require("ip")
        require("nft")
        if os.geteuid() != 0:
            missing("network namespaces need root")
        self._ip = ip
        self._names = [f"{_PREFIX}{os.getpid()}-{side}" for side in ("near", "far")]
        self.near, self.far = ([ip, "netns", "exec", name] for name in self._names)

    def __enter__(self) -> Self:
        _remove_remains(self._ip)
        near, far = self._names
        try:
            for name in self._names:
                command(self._ip, "netns", "add", name)
                command(self._ip, "-n", name, "link", "set", "lo", "up")
            command(self._ip, "-n", near, "link", "add", "line", "type", "veth", "peer", "name", "line", "netns", far)
            for name, addresses in ((near, (NEAR, NEAR_6)), (far, (FAR, ELSEWHERE, FAR_6))):
                for address in addresses:
                    length, flags = ("/64", ["nodad"]) if ":" in address else ("/24", [])
                    command(self._ip, "-n", name, "address", "add", address + length, "dev", "line", *flags)
                command(self._ip, "-n", name, "link", "set", "line", "up")
        except subprocess.CalledProcessError as error:
            self.close()
            missing(f"the kernel makes no network namespaces: {error.stderr.strip()}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for name in self._names:
            _remove(self._ip, name)

    def rule(self, rule: str) -> None:
        """Have the far side do this to what arrives, in the words of nftables."""
        self._offered([*self.far, require("nft"), "-f", "-"], _RULES.format(rule=rule))

    def heal(self) -> None:
        """Take back what `rule` says."""
        command(*self.far, require("nft"), "delete", "table", "inet", "faults")

    def iptables(self, *rule: str) -> None:
        self._offered([*self.far, require("iptables"), *rule])

    def queue(self, *discipline: str) -> None:
        """Have what leaves the near side wait in a queue of tc's."""
        self._offered([*self.near, require("tc"), "qdisc", "replace", "dev", "line", "root", *discipline])

    def link(self, *state: str) -> None:
        """Change the far end of the line."""
        command(self._ip, "-n", self._names[1], "link", "set", "line", *state)

    def kill_lines(self) -> None:
        """Reset every connection that the far side has."""
        self._offered([*self.far, require("ss"), "-K", "dst", NEAR])

    def resolver(self, name_server: str) -> None:
        """Have programs on the near side ask this one for names."""
        directory = Path("/etc/netns") / self._names[0]
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "resolv.conf").write_text(f"nameserver {name_server}\noptions timeout:1 attempts:1\n")

    def _offered(self, arguments: Sequence[str], told: str = "") -> None:
        try:
            command(*arguments, told=told)
        except subprocess.CalledProcessError as error:
            missing(f"the kernel does not offer it: {' '.join(arguments)} {told}: {error.stderr.strip()}")


def command(*arguments: str, told: str = "") -> str:
    return subprocess.run(arguments, input=told, capture_output=True, text=True, check=True).stdout


def missing(reason: str) -> None:
    """End the test: this machine cannot do what it needs."""
    (pytest.fail if everything_required() else pytest.skip)(reason)


def _remove(ip: str, name: str) -> None:
    with suppress(subprocess.CalledProcessError):  # there is none
        command(ip, "netns", "delete", name)
    shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def _remove_remains(ip: str) -> None:
    for line in command(ip, "netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(_PREFIX) and not Path(f"/proc/{name[len(_PREFIX) :].partition('-')[0]}").exists():
            _remove(ip, name)
