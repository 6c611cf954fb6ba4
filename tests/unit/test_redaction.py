"""What is shown of an option, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.redaction import REDACTED, redacted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hosts", "ls1:5044,ls2:5044"),
        ("hosts", "[::1]:5044"),
        ("hosts", ["ls1", "ls2"]),
        ("hosts", ("ls1", 5044)),
        ("proxy_url", "socks5://proxy:1080"),
        ("proxy_url", "socks5://bob@proxy:1080"),
        ("BEATS_URL", "beats+tls://ls1:5044"),
        ("ssl", {"certificate": "/a.pem", "key": "/a.key"}),
        ("ssl.key", "/etc/ssl/private/app.key"),
        ("ssl.key_passphrase_path", "/run/secrets/passphrase"),
        ("key_passphrase", ""),
        ("index", b"shop"),
        ("ssl", None),
        ("timeout", 1e300),
    ],
)
def test_what_is_no_secret_is_shown(name: str, value: Any) -> None:
    assert value == redacted(name, value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("ssl.key_passphrase", "open sesame", REDACTED),
        ("BEATS_SSL_KEY_PASSPHRASE", "open sesame", REDACTED),
        ("ssl", {"key_passphrase": "open sesame", "key": "/a.key"}, {"key_passphrase": REDACTED, "key": "/a.key"}),
        ("ssl.key", "-----BEGIN PRIVATE KEY-----", REDACTED),
        ("ssl.key", b"-----BEGIN PRIVATE KEY-----", REDACTED),
        ("ssl.key", "MIIEvQIBADANBg\nkqhkiG9w0BAQEF\nAASCBKcwggSjAg", REDACTED),
        ("BEATS_SSL_KEY", "MIIEvQIBADANBg" * 50, REDACTED),
        ("ssl.key", "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF", REDACTED),
        ("ssl.key_pass", "secret", REDACTED),
        ("BEATS_SSL_KEY_PASSPHRAS", "secret", REDACTED),
        ("proxy_secret", "secret", REDACTED),
        ("proxy_url", "socks5://bob:secret@proxy:1080", f"socks5://bob:{REDACTED}@proxy:1080"),
        ("proxy_url", "socks5://bob:sec@r/e:t@proxy:1080", f"socks5://bob:{REDACTED}@proxy:1080"),
        ("proxy_url", "bob:secret@proxy:1080", f"bob:{REDACTED}@proxy:1080"),
        ("hosts", ["ls1", "bob:secret@ls2"], ["ls1", f"bob:{REDACTED}@ls2"]),
        ("hosts", ("bob:secret@ls2",), (f"bob:{REDACTED}@ls2",)),
        ("BEATS_URL", "beats://a,b?ttl=1&ssl.key_passphrase=secret", "beats://a,b?ttl=…&ssl.key_passphrase=…"),
    ],
)
def test_secrets_are_not_shown(name: str, value: Any, shown: object) -> None:
    assert shown == redacted(name, value)


@given(
    user=st.text("abc"), password=st.text("abc:/@?#%", min_size=1), name=st.sampled_from(["proxy_url", "hosts", "x"])
)
def test_no_password_of_a_url_is_shown(user: str, password: str, name: str) -> None:
    mark = "hunter2"
    shown = str(redacted(name, f"socks5://{user}:{mark}{password}@proxy:1080"))

    assert mark not in shown
