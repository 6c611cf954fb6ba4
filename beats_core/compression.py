"""Compress and inflate zlib streams (RFC 1950), which is what a compressed frame holds; and zlib's checksum.

Elastic's documentation says gzip; every implementation reads and writes zlib.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

_fast: Callable[[bytes | bytearray, int], bytes] | None
crc32: Callable[[bytes | bytearray | memoryview, int], int]  # of data that follows what has that checksum, else 0
try:
    from isal import isal_zlib
except ImportError:  # no wheel for this platform: the marker in pyproject.toml left it out
    _fast = None
    crc32 = zlib.crc32
else:
    _fast = isal_zlib.compress
    crc32 = isal_zlib.crc32  # an eighth of the time of zlib's

# isal's level 1 takes a seventh of the time of zlib's, and makes streams hardly larger than zlib's level 3. Its other
# levels gain little. Who asks for more than Filebeat's default of 3 asks for size, which only zlib's own levels give.
_FAST_UP_TO = 3


def compress(data: bytes | bytearray, level: int) -> bytes:
    """Return `data` as one finished zlib stream. `level` is Filebeat's, 1 to 9."""
    if _fast is not None and level <= _FAST_UP_TO:
        return _fast(data, 1)
    return zlib.compress(data, level)


def inflate(data: bytes, limit: int) -> bytes | None:
    """Return what a zlib stream holds, or None if that is more than `limit` bytes.

    Never takes more memory than `limit` and a little. A stream that is flushed but not finished is
    read as far as it goes, as Logstash and go-lumber do.

    Raises:
        ValueError: `data` is no zlib stream.
    """
    try:
        inflated = zlib.decompressobj().decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"not a zlib stream: {error}") from error
    return inflated if len(inflated) <= limit else None
