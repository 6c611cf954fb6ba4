"""The commands and their options. What they do is in `send` and `listen`."""

from __future__ import annotations

import dataclasses
import ssl
import sys
from collections.abc import Callable
from typing import Any

import click

from beats_core.cli import exits, listen, send
from beats_core.cli.lines import STDIN, EventMaker, parse_fields
from beats_core.cli.terminal import wants_color
from beats_core.errors import OptionError
from beats_core.hosts import parse_host
from beats_core.options import Options

Command = Callable[..., Any]

_FILE = click.Path(exists=True, dir_okay=False)
_INPUT = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)

# Named as the options are; what is not given is left to BEATS_* and then to the defaults.
_OPTIONS = (
    click.option("-H", "--hosts", multiple=True, metavar="NAME:PORT[,…]", help="Receivers, tried in order."),
    click.option("--ssl/--no-ssl", default=None, help="TLS, with the system's authorities."),
    click.option(
        *("--certificate-authorities", "--ssl-ca"), multiple=True, type=_FILE, help="TLS, with the authorities in FILE."
    ),
    click.option("--certificate", type=_FILE, help="The client's certificate."),
    click.option("--key", type=_FILE, help="Its key."),
    click.option("--bulk-max-size", type=int, metavar="N", help="Most events of one window."),
    click.option("--pipelining", type=int, metavar="N", help="Windows in flight."),
    click.option("--compression-level", type=int, metavar="0-9", help="0 is off."),
    click.option("--timeout", type=float, metavar="SECONDS", help="For connecting, and for an ack that is due."),
    click.option("--index", help="@metadata.beat, of which Logstash makes the index name."),
)


@click.group(epilog=exits.HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="beats-integrations")
def beats() -> None:
    """Send events to Logstash, or anything else that speaks Beats, and receive them."""


def _with_options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@beats.command("send", epilog=exits.HELP)
@click.argument("files", nargs=-1, type=_INPUT, metavar="[FILE|-]...")
@click.option("--json", "as_json", is_flag=True, help="Each line is a JSON object, and is the event.")
@click.option("-F", "--field", "fields", multiple=True, metavar="NAME=VALUE", help="Add a field; a.b=c is nested.")
@click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="At a line that is no event: deliver those before it and exit with 1, or count it and go on.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How often in a row to connect again, without any ack in between.",
)
@click.option("--progress/--no-progress", default=None, help="By default on a terminal.")
@_with_options
def send_command(
    *,
    files: tuple[str, ...],
    as_json: bool,
    fields: tuple[str, ...],
    on_error: str,
    retries: int,
    progress: bool | None,
    **values: Any,
) -> None:
    """Send the lines of files, or of the standard input, and wait until each is acknowledged.

    A line is the message of an event; empty lines are none. Options that are not given come from BEATS_HOSTS,
    BEATS_COMPRESSION_LEVEL and so on. After a lost connection what was not acknowledged is sent again.
    """
    try:
        options = _options(**values)
        make_event = EventMaker(
            as_json=as_json, fields=parse_fields(fields), index=options.index, limit=options.max_event_bytes
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    sending = send.Sending(options, make_event, skip_bad=on_error == "skip", retries=retries, progress=progress)
    sys.exit(sending.run(files or (STDIN,)))


@beats.command("listen", epilog=exits.HELP)
@click.option(
    *("-b", "--bind"),
    callback=lambda _context, _option, text: _address(text),
    default="127.0.0.1:5044",
    show_default=True,
    metavar="NAME:PORT",
    help="Where to listen; port 0 takes a free one.",
)
@click.option(
    *("-o", "--output"),
    type=click.Choice(["pretty", "ndjson", "raw", "none"]),
    default="pretty",
    show_default=True,
    help="pretty: for people, without where in the code and in which process; ndjson: all, one line each; "
    "raw: the bytes as they came.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    metavar="N",
    help="End after N events. Windows are printed and acknowledged whole, so it may be a few more.",
)
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@click.option("--certificate", "--tls-cert", type=_FILE, help="TLS: the receiver's certificate chain.")
@click.option("--key", "--tls-key", type=_FILE, help="TLS: its key.")
def listen_command(
    *, bind: str, output: str, count: int | None, color: str, certificate: str | None, key: str | None
) -> None:
    """Receive events, print them, and acknowledge what was printed.

    Events go to the standard output, everything else to the standard error.
    """
    try:
        context = _server_context(certificate, key)
    except OptionError as error:
        raise click.UsageError(str(error)) from error
    format_event = listen.formatter(output, color=wants_color(color, sys.stdout))
    sys.exit(listen.Listening(bind, format_event, count=count, context=context).run())


def _options(
    *,
    hosts: tuple[str, ...],
    ssl: bool | None,
    certificate_authorities: tuple[str, ...],
    certificate: str | None,
    key: str | None,
    **values: object,
) -> Options:
    """Return the options of the environment, changed by those of the command line."""
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    if hosts:
        given["hosts"] = ",".join(hosts)
    files = {"certificate_authorities": certificate_authorities, "certificate": certificate, "key": key}
    named = {name: path for name, path in files.items() if path}
    if ssl is False and named:
        raise OptionError("ssl", ssl, "there are certificates, which are for TLS")
    if ssl is not None or named:
        given["ssl"] = named or ssl
    return dataclasses.replace(Options.from_env(), **given)


def _address(text: str) -> str:
    try:
        return str(parse_host(text))
    except OptionError as error:
        raise click.BadParameter(error.allowed) from error


def _server_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise OptionError("key", key, "a key needs its --certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise OptionError("certificate", certificate, f"does not load with key {key!r}: {error}") from error
    return context
