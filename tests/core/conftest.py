"""Every promise of a client meets every receiver, on both drivers, plain and over TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.authority import Authority
from support.clients import Driver, MakeDriver
from support.columns import COLUMNS, Column
from support.rows import Link
from support.scripted import Script, Scripted


@pytest.fixture(params=COLUMNS, ids=[column.title for column in COLUMNS])
def column(request: pytest.FixtureRequest) -> Column:
    """Each receiver of the field."""
    found: Column = request.param
    return found


@pytest.fixture(scope="session")
def server(authority: Authority) -> ssl.SSLContext:
    """What all receivers show who speak TLS."""
    return authority.server()


@pytest.fixture(params=["plain", "TLS"])
def link(request: pytest.FixtureRequest, driver: MakeDriver, authority: Authority, server: ssl.SSLContext) -> Link:
    """A receiver that plays scripts, and a client that is connected to it."""
    encrypted = request.param == "TLS"

    @contextmanager
    def meet(*scripts: Script, **options: Any) -> Iterator[tuple[Scripted, Driver]]:
        options |= {"ssl": authority.option} if encrypted else {}
        with (
            Scripted(*scripts, tls=server if encrypted else None) as receiver,
            driver(receiver.host, **options) as client,
        ):
            yield receiver, client

    return meet
