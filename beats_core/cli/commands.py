"""The commands and what can be said to them. What they do is in `send`, `listen`, `check` and `spool`."""

from __future__ import annotations

import ssl
import sys
from typing import Any

import click

from beats_core.cli import check, exits, listen, send
from beats_core.cli.arguments import FILE, load, refusal, with_arguments
from beats_core.cli.lines import STDIN, EventMaker, parse_fields
from beats_core.cli.settings import Misconfigured, Settings
from beats_core.cli.spool import spool
from beats_core.cli.terminal import log_to_stderr, print_json, wants_color
from beats_core.errors import OptionError
from beats_core.hosts import parse_host

_INPUT = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True)
_COLOR = click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True, help="For text."
)
_FORMAT = click.option("--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.group(epilog=exits.HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="beats-integrations")
def beats() -> None:
    """Send events to Logstash, or anything else that speaks Beats, and receive them."""


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
@with_arguments
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
        options = load(**values).options
        make_event = EventMaker(as_json=as_json, fields=parse_fields(fields), options=options)
    except Misconfigured as wrong:
        raise refusal(wrong) from wrong
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not options.enabled:
        click.echo(f"beats: {exits.SWITCHED_OFF}: nothing is read, nothing is sent", err=True)
        return
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
@click.option("--certificate", "--tls-cert", type=FILE, help="TLS: the receiver's certificate chain.")
@click.option("--key", "--tls-key", type=FILE, help="TLS: its key.")
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


@beats.group()
def test() -> None:
    """Look at the options, or try the receivers, before anything depends on them."""


@test.command("config", epilog=exits.HELP)
@_FORMAT
@with_arguments
def test_config_command(*, output: str, **values: Any) -> None:
    """Say which options are in force, and who says so; passwords and keys are not shown.

    Files of certificates are read, nothing is connected.
    """
    log_to_stderr()
    sys.exit(check.check_config(_settings(output, values), as_json=output == "json"))


@test.command("output", epilog=exits.HELP)
@click.option("--probe/--no-probe", default=True, show_default=True, help="Send one event to each host.")
@click.option("--all", "want_all", is_flag=True, help="Fail unless all hosts are usable; else one is enough.")
@_FORMAT
@_COLOR
@with_arguments
def test_output_command(*, probe: bool, want_all: bool, output: str, color: str, **values: Any) -> None:
    """Try each receiver, step by step, and say what is wrong and what to do.

    The last step is an event that arrives like any other: its message is "beats test output: probe", and it has the
    tag "beats_test". Only its acknowledgement shows that a receiver speaks Beats.
    """
    log_to_stderr()
    options = _settings(output, values).options
    if not options.enabled:
        click.echo(f"beats: {exits.SWITCHED_OFF}, programs send nothing; tried all the same", err=True)
        options = _settings(output, {**values, "enabled": True}).options
    sys.exit(
        check.check_hosts(
            options,
            probe=probe,
            want_all=want_all,
            as_json=output == "json",
            color=wants_color(color, sys.stdout),
        )
    )


beats.add_command(spool)


def _settings(output: str, values: dict[str, Any]) -> Settings:
    try:
        return load(**values)
    except Misconfigured as wrong:
        if output == "json" and not wrong.usage:
            print_json({"code": exits.CONFIG, "problems": wrong.problems})
            sys.exit(exits.CONFIG)
        raise refusal(wrong) from wrong


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
