"""A DNS server that knows what a file says, asked anew for each question.

    python -m faults.name_server ADDRESS ZONE

The zone is JSON: {"receiver.test": {"A": ["10.0.0.1"], "AAAA": [], "delay": 0.0}}. What is not in it does not exist.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from pathlib import Path

from faults.parents import die_with_parent

_KINDS = {1: ("A", socket.AF_INET), 28: ("AAAA", socket.AF_INET6)}
_NO_SUCH_NAME = 3


def answer(query: bytes, zone: dict[str, dict[str, list[str]]]) -> bytes:
    """Return the response to a query of one question (RFC 1035, 4.1)."""
    labels, position = [], 12
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode())
        position += 1 + length
    question = query[12 : position + 5]
    (kind,) = struct.unpack_from(">H", query, position + 1)
    known = zone.get(".".join(labels).lower())
    name, family = _KINDS.get(kind, ("", socket.AF_INET))
    addresses = [socket.inet_pton(family, text) for text in (known or {}).get(name, [])]
    flags = 0x8580 | (0 if known is not None else _NO_SUCH_NAME)
    header = query[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
    # The name is a pointer to the question's; nobody may keep an answer.
    records = (struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(address)) + address for address in addresses)
    return header + question + b"".join(records)


def main() -> None:
    die_with_parent()
    address, path = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((address, 53))
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while True:
            query, peer = line.recvfrom(4096)
            zone = json.loads(Path(path).read_text())
            time.sleep(max([each.get("delay", 0.0) for each in zone.values()], default=0.0))
            line.sendto(answer(query, zone), peer)


if __name__ == "__main__":
    main()
