"""Files of the `ssl` option that change while a program runs."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beats_core.tls import Tls
from support.authority import Authority

WARNING = "certificates have changed and are not usable, the last good ones stay in use: "


class Files:
    """Our certificate, its key and the authorities on disk, and what is loaded of them."""

    def __init__(self, directory: Path, authority: Authority, **option: Any) -> None:
        self.authority = authority
        self.authorities, self.certificate, self.key = (directory / name for name in ("ca.pem", "app.pem", "app.key"))
        self.authorities.write_bytes(Path(authority.path).read_bytes())
        self.first, self.second = authority.client("first@example.org"), authority.client("second@example.org")
        self.put("certificate", self.first)
        self.put("key", self.first)
        self.tls = tls_of(
            {
                "certificate_authorities": str(self.authorities),
                "certificate": str(self.certificate),
                "key": str(self.key),
                **option,
            }
        )

    def put(self, name: str, option: dict[str, object]) -> None:
        getattr(self, name).write_bytes(Path(str(option[name])).read_bytes())


def tls_of(option: Any) -> Tls:
    tls = Tls.from_option(option)
    assert tls is not None
    return tls


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().removeprefix(WARNING) for record in caplog.records if record.levelno == logging.WARNING]


def rewrite(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def replace(path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    new.replace(path)


def allow(path: Path) -> None:
    """It could not be read before, for example."""
    path.chmod(0o644 if path.stat().st_mode & 0o777 == 0o600 else 0o600)


def test_as_long_as_nothing_changes_it_is_the_same_context(files: Files) -> None:
    context = files.tls.context()

    assert all(files.tls.context() is context for _ in range(3))
    assert tls_of(True).context() is not tls_of(True).context()


@pytest.mark.parametrize("change", [rewrite, replace, allow])
@pytest.mark.parametrize("name", ["authorities", "certificate", "key"])
def test_a_file_that_changes_makes_another_context(files: Files, name: str, change: Callable[[Path], None]) -> None:
    before = files.tls.context()
    change(getattr(files, name))

    after = files.tls.context()
    assert before is not after
    assert after is files.tls.context()


def test_a_link_that_points_elsewhere_is_a_change(tmp_path: Path, authority: Authority, stranger: Authority) -> None:
    """As with the secrets of Kubernetes, where only the directory's link is replaced."""
    for version, each in (("v1", authority), ("v2", stranger)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "ca.pem").write_bytes(Path(each.path).read_bytes())
    (tmp_path / "data").symlink_to("v1")
    tls = tls_of({"certificate_authorities": str(tmp_path / "data" / "ca.pem")})
    before = tls.context().get_ca_certs()

    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").replace(tmp_path / "data")

    assert [before, ca_of(stranger)] == [ca_of(authority), tls.context().get_ca_certs()]


def ca_of(authority: Authority) -> list[Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.path)
    return context.get_ca_certs()


def test_the_context_in_use_is_left_as_it_was(files: Files, stranger: Authority) -> None:
    before = files.tls.context()
    trusted = before.get_ca_certs()
    files.authorities.write_bytes(Path(stranger.path).read_bytes())

    assert ca_of(stranger) == files.tls.context().get_ca_certs()
    assert trusted == before.get_ca_certs()


def test_a_passphrase_file_is_looked_at_as_well(tmp_path: Path, authority: Authority) -> None:
    option = authority.client("locked@example.org", "open sesame")
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("open sesame")
    tls = tls_of({**option, "key_passphrase_path": str(passphrase)})
    before = tls.context()

    passphrase.write_text("open sesame\n")

    assert before is not tls.context()


def test_certificate_and_key_may_be_replaced_one_after_the_other(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    before = files.tls.context()
    files.put("certificate", files.second)

    assert all(files.tls.context() is before for _ in range(3))
    assert [f"ssl.key={str(files.key)!r}: is the key of another certificate than {files.certificate}"] == warnings(
        caplog
    )

    files.put("key", files.second)
    assert before is not files.tls.context()
    assert 1 == len(warnings(caplog))


@pytest.mark.parametrize(
    "spoil",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:100])],
    ids=["gone", "empty", "half"],
)
@pytest.mark.parametrize("name", ["authorities", "certificate", "key"])
def test_a_file_that_is_not_usable_leaves_the_last_good_ones_in_use_until_it_is(
    files: Files, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], name: str
) -> None:
    path = getattr(files, name)
    good, before = path.read_bytes(), files.tls.context()
    for times in (1, 2):
        spoil(path)
        assert all(files.tls.context() is before for _ in range(3))
        assert times == len(warnings(caplog)), "one warning for each change"
        path.write_bytes(good)
        after = files.tls.context()
        assert before is not after
        before = after

    option = "certificate_authorities" if name == "authorities" else name
    assert all(warning.startswith(f"ssl.{option}={str(path)!r}: ") for warning in warnings(caplog))


def test_reloading_can_be_turned_off(tmp_path: Path, authority: Authority) -> None:
    for off in (False, "false", {"enabled": False}):
        files = Files(tmp_path, authority, certificate_reload=off)
        before = files.tls.context()
        files.put("certificate", files.second)
        files.put("key", files.second)
        assert before is files.tls.context()


def test_threads_that_look_at_once_get_good_contexts_and_in_the_end_the_newest(files: Files) -> None:
    done = threading.Event()
    failures: list[BaseException] = []

    def look() -> None:
        try:
            while not done.is_set():
                assert files.tls.context().get_ca_certs()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for option in [files.second, files.first] * 10:
        files.put("certificate", option)
        files.put("key", option)
    done.set()
    for thread in threads:
        thread.join()

    assert [] == failures
    newest = files.tls.context()
    assert newest is files.tls.context()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_after_fork_reloads_on_its_own(files: Files) -> None:
    before = files.tls.context()
    child = os.fork()
    if not child:
        rewrite(files.key)
        os._exit(0 if files.tls.context() is not before else 1)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
