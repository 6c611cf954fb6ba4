"""How the commands end: the exit codes, which are those of sysexits.h where it has one, and what leads to which."""

from __future__ import annotations

import ssl

from beats_core.diagnosis import in_handshake
from beats_core.errors import EventTooLarge, OptionError, ProtocolError

OK = 0
FAILED = 1
DAMAGED = 65
UNAVAILABLE = 69
PARTLY = 75
PROTOCOL = 76
NOT_TRUSTED = 77
CONFIG = 78
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

SWITCHED_OFF = "everything is switched off (enabled, BEATS_DISABLED)"

HELP = """
\b
Exit codes:
  0    all went well                            75   partly delivered, the rest is kept: try again
  1    failed, a bad line for example           76   the peer does not speak Beats
  2    wrong usage                              77   a TLS certificate was not accepted
  65   something in a spool is damaged          78   wrong configuration: environment, file
  69   nobody to reach, or nobody acknowledged  130  interrupted
"""

# What OpenSSL calls the alerts by which a receiver refuses our certificate, or that we have none (TLS 1.2 has no name
# of its own for that).
_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")


def exit_code(error: BaseException) -> int:
    """Return the code for a line that could not be made, or was lost for good."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ProtocolError):
            return PROTOCOL
        if isinstance(cause, EventTooLarge | OptionError):
            return CONFIG
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NOT_TRUSTED
        if isinstance(cause, ssl.SSLError):
            refused = any(word in (cause.reason or "") for word in _REFUSALS)
            return NOT_TRUSTED if refused else PROTOCOL  # the rest is TLS meeting plain TCP
        if isinstance(cause, ConnectionError) and in_handshake(cause):
            return PROTOCOL  # as some say it who speak no TLS; others end it in a way that is an SSLError
        cause = cause.__cause__
    return UNAVAILABLE
