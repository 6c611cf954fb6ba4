"""What the tests against go-lumber share."""

from __future__ import annotations

import pytest

from support.authority import Authority
from support.clients import DRIVERS, MakeDriver
from support.go_lumber import CertificateFiles


@pytest.fixture(params=DRIVERS, ids=["Client", "AsyncClient"])
def driver(request: pytest.FixtureRequest) -> MakeDriver:
    """Both clients, one after the other."""
    make: MakeDriver = request.param
    return make


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the other side trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> CertificateFiles:
    return issue(authority)


@pytest.fixture(scope="session")
def stranger_certificate(stranger: Authority) -> CertificateFiles:
    return issue(stranger)


def issue(authority: Authority) -> CertificateFiles:
    files = authority.client("127.0.0.1")  # a certificate of trustme's serves at either end
    return CertificateFiles(str(files["certificate"]), str(files["key"]))
