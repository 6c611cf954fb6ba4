"""What clients, shipper and adapters are not told as arguments, the environment tells them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from beats_core import Options, Receiver, Shipper
from support.clients import MakeDriver


@pytest.fixture(autouse=True)
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as receiver:
        monkeypatch.setenv("BEATS_HOSTS", receiver.host)
        monkeypatch.setenv("BEATS_BULK_MAX_SIZE", "7")
        yield receiver


def test_a_client_asks_the_environment_for_what_it_is_not_given(driver: MakeDriver, receiver: Receiver) -> None:
    with driver(None) as client:
        assert 20 == client.send([{"message": "hello"}] * 20)
        with pytest.raises(ValueError, match="bulk_max_size is 7"):
            client.post([{"message": "hello"}] * 8)

    with driver(None, bulk_max_size=8) as client:
        client.post([{"message": "hello"}] * 8)


def test_options_that_are_ready_are_all_a_client_is_told(driver: MakeDriver, receiver: Receiver) -> None:
    with driver(options=Options(hosts=receiver.host)) as client:
        assert 8 == client.post([{"message": "hello"}] * 8)


def test_a_shipper_asks_the_environment_for_what_it_is_not_given(receiver: Receiver) -> None:
    assert Options(hosts=receiver.host, bulk_max_size=7, index="shop") == Shipper(index="shop").options
    assert Options(hosts="ls1", bulk_max_size=7) == Shipper("ls1").options
    assert Options() == Shipper(options=Options()).options
