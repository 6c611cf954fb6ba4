"""How large a window may be, learned from what became of those before. Without I/O or clock."""

from __future__ import annotations

FIRST = 10  # events; Filebeat's


class SlowStart:
    """The window size of one host: grows by half with each window of that size that arrived, halves when one is lost.

    Unlike Filebeat's (window.go) it neither stops growing after a time of small windows, because these say nothing,
    nor begins anew with each connection, because it belongs to the host.

    Args:
        most: The size it does not exceed.
    """

    def __init__(self, most: int) -> None:
        self.size = min(FIRST, most)
        self._most = most

    def acked(self, count: int) -> None:
        """Note that a window of so many events was fully acknowledged; a smaller one proves nothing."""
        if count >= self.size:
            self.size = min(self.size + (self.size + 1) // 2, self._most)

    def lost(self) -> None:
        """Note that a window was refused, or not acknowledged in time."""
        self.size = max(1, self.size // 2)
