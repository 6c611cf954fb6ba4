"""A shipper with a receiver behind it, as an adapter's test wants them; and one that only keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from beats_core import Options, Receiver, Shipper, Stats

Document = dict[str, Any]


class Line:
    """A real shipper and a real receiver: what arrived is read back, decoded."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.shipper = Shipper(self.receiver.host)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.shipper.close()
        self.receiver.close()

    def documents(self) -> list[Document]:
        """Everything shipped so far, in order, once it is acknowledged."""
        assert self.shipper.flush(timeout=30)
        documents: list[Document] = self.receiver.events
        return documents

    def document(self) -> Document:
        """The only document shipped so far."""
        [document] = self.documents()
        return document


def a_line() -> Iterator[Line]:
    """A fixture: `line = pytest.fixture(a_line)`."""
    with Line() as line:
        yield line


class KeepingShipper(Shipper):
    """Keeps the documents instead of encoding them, and notes how it is treated."""

    def __init__(self, *, refuses: Exception | None = None, acknowledges: bool = True) -> None:
        super().__init__(options=Options(shutdown_timeout=0.05))
        self.documents: list[Mapping[str, object]] = []
        self.levels: list[int] = []
        self.calls: list[str] = []
        self.refuses = refuses
        self.acknowledges = acknowledges

    def put(self, event: Mapping[str, object] | str | bytes, level: int = 20) -> bool:
        if self.refuses is not None:
            raise self.refuses
        assert isinstance(event, Mapping)
        self.documents.append(event)
        self.levels.append(level)
        return True

    def flush(self, timeout: float | None = None, *, durable: bool = False) -> bool:
        self.calls.append(f"flush({timeout})")
        return self.acknowledges

    def close(self, timeout: float | None = None) -> Stats:
        self.calls.append(f"close({timeout})")
        return super().close(timeout)
