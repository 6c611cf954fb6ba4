"""The arguments that all commands have which send something, and the settings they make with everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from beats_core.cli.exits import CONFIG
from beats_core.cli.settings import Misconfigured, Settings
from beats_core.tls_settings import VERIFICATION_MODES

Command = Callable[..., Any]

FILE = click.Path(exists=True, dir_okay=False)

# Named as the options are; what is not given is left to the environment, to --config and then to the defaults.
_ARGUMENTS = (
    click.option("-H", "--hosts", multiple=True, metavar="NAME:PORT[,…]", help="Receivers, tried in order."),
    click.option("--url", metavar="URL", help="The same and more as one text, for example beats+tls://ls1:5044,ls2."),
    click.option("--ssl/--no-ssl", default=None, help="TLS, with the system's authorities."),
    click.option(
        *("--certificate-authorities", "--ssl-ca"), multiple=True, type=FILE, help="TLS, with the authorities in FILE."
    ),
    click.option("--certificate", type=FILE, help="The client's certificate."),
    click.option("--key", type=FILE, help="Its key."),
    click.option("--key-passphrase-path", type=FILE, help="The key's passphrase is in FILE."),
    click.option("--verification-mode", type=click.Choice(VERIFICATION_MODES), help="What TLS verifies."),
    click.option("--proxy-url", metavar="URL", help="socks5:// or http://; with a password better in BEATS_PROXY_URL."),
    click.option("--bulk-max-size", type=int, metavar="N", help="Most events of one window."),
    click.option("--pipelining", type=int, metavar="N", help="Windows in flight."),
    click.option("--compression-level", type=int, metavar="0-9", help="0 is off."),
    click.option("--timeout", type=float, metavar="SECONDS", help="For connecting, and for an ack that is due."),
    click.option("--index", help="@metadata.beat, of which Logstash makes the index name."),
    click.option("-E", "pairs", multiple=True, metavar="NAME=VALUE", help="Any other option, also by Filebeat's name."),
    click.option(
        *("-c", "--config"), "file", type=FILE, help="Options in JSON, TOML or YAML, or in a Filebeat configuration."
    ),
)
_PARTS_OF_SSL = ("certificate_authorities", "certificate", "key", "key_passphrase_path", "verification_mode")


class WrongConfiguration(click.ClickException):
    """What is wrong is not on the command line."""

    exit_code = CONFIG


def with_arguments(command: Command) -> Command:
    """Give a command the arguments, which it hands to `load`."""
    for argument in reversed(_ARGUMENTS):
        command = argument(command)
    return command


def load(
    *, hosts: tuple[str, ...], pairs: tuple[str, ...], url: str | None, file: str | None, **values: Any
) -> Settings:
    """Return the settings of a command, with those of the environment and of a file.

    Raises:
        Misconfigured: Something is wrong.
    """
    given = {
        f"ssl.{name}" if name in _PARTS_OF_SSL else name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value not in (None, ())
    }
    if hosts:
        given["hosts"] = ",".join(hosts)
    if given.get("ssl") is False and any(name.startswith("ssl.") for name in given):
        raise Misconfigured(["--no-ssl, and there are options for TLS"], usage=True)
    return Settings(given, pairs=pairs, url=url, file=file)


def refusal(wrong: Misconfigured) -> click.ClickException:
    """Return what ends a command whose settings are wrong."""
    return click.UsageError(str(wrong)) if wrong.usage else WrongConfiguration(str(wrong))
