"""What the tests against go-lumber share."""

from __future__ import annotations

import pytest

from support.authority import Authority
from support.go_lumber import CertificateFiles


@pytest.fixture(scope="session")
def server_certificate(authority: Authority) -> CertificateFiles:
    return issue(authority)


@pytest.fixture(scope="session")
def stranger_certificate(stranger: Authority) -> CertificateFiles:
    return issue(stranger)


def issue(authority: Authority) -> CertificateFiles:
    files = authority.client("127.0.0.1")  # a certificate of trustme's serves at either end
    return CertificateFiles(str(files["certificate"]), str(files["key"]))
